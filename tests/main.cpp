// Entry point of every test executable; PYMM_TEST_DIR names the directory for test namespaces.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
