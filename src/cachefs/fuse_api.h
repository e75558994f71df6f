// libfuse's low-level interface, in the one version that this area is written for.
#pragma once

#define FUSE_USE_VERSION 317
#include <fuse_lowlevel.h>
