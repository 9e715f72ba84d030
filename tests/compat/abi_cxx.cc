// The same declarations seen by a C++ compiler: a C++ program is of the same layout.
#include "abi.c"
