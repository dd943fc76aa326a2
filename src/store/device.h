/* device.h - which drive a file lies on, told apart from every other one, also after a restart. */
#ifndef HS_STORE_DEVICE_H
#define HS_STORE_DEVICE_H

#include <stddef.h>

#include "base/err.h"

/* "filesystem ef53 on nvme0n1p2, serial S5H7…, 3907029168 sectors; Linux 6.1.0-18-amd64": filesystem (its magic
 * number), drive with serial number and size as far as sysfs knows them, kernel. Cut at cap. */
int hs_device_describe(const char *file, char *buf, size_t cap, hs_err *err) HS_MUST_CHECK;

#endif
