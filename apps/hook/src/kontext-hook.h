/* The part of the frame format a test looks at alone. */
#ifndef KONTEXT_HOOK_H
#define KONTEXT_HOOK_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stddef.h>
#include <stdint.h>

enum { FRAME_VERSION = 1, TYPE_REPLY = 1, TYPE_HOLD = 2, MAX_OUTPUT = 1 << 20 };

enum frame_kind { FRAME_PARTIAL, FRAME_HOLD, FRAME_REPLY, FRAME_BAD };

struct frame {
  size_t used;
  uint32_t hold_ms;
  int exit_code;
  size_t stdout_length, stderr_length;
  const unsigned char *stdout_bytes, *stderr_bytes;
};

/*
 * Reads the first frame of what has arrived.
 *
 * FRAME_HOLD sets `used` and `hold_ms`; FRAME_REPLY sets `used`, `exit_code` and both outputs, which point into `bytes`.
 * FRAME_PARTIAL: more has to arrive. FRAME_BAD: the other side does not speak the format.
 */
enum frame_kind read_frame(const unsigned char *bytes, size_t length, struct frame *frame);
#endif
