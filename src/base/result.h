// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "carat/result.h"  // IWYU pragma: export
