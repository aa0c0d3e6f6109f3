// Everything a user of the library includes.
#pragma once

#include <pymm/array.hpp>
#include <pymm/device.hpp>
#include <pymm/error.hpp>
#include <pymm/namespace.hpp>
#include <pymm/shelf.hpp>
#include <pymm/type.hpp>
#include <pymm/version.hpp>
