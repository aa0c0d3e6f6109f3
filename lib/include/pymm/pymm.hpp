// Everything a user of the library includes.
#pragma once

#include <pymm/array.hpp>
#include <pymm/check.hpp>
#include <pymm/device.hpp>
#include <pymm/dump.hpp>
#include <pymm/error.hpp>
#include <pymm/leftovers.hpp>
#include <pymm/list.hpp>
#include <pymm/log.hpp>
#include <pymm/map.hpp>
#include <pymm/namespace.hpp>
#include <pymm/shelf.hpp>
#include <pymm/transaction.hpp>
#include <pymm/tree.hpp>
#include <pymm/tree_writer.hpp>
#include <pymm/type.hpp>
#include <pymm/version.hpp>
