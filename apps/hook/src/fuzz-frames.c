/*
 * Mutation fuzzer of the frame reader: reads seed frames (hex, one a line) from stdin, mutates them with a fixed sequence of
 * random numbers, and hands them over in a buffer of exactly their size, so that a sanitizer sees every byte read beyond.
 *
 * Arguments: <rounds>. Prints how often each kind of frame came out; ends with 1 when an answer contradicts itself.
 */
#define KONTEXT_HOOK_NO_MAIN
#include "kontext-hook.c"

enum { MAX_SEEDS = 64, MAX_BYTES = 4096 };

static unsigned char seeds[MAX_SEEDS][MAX_BYTES];
static size_t lengths[MAX_SEEDS], seed_count;
static uint64_t state = 0x9e3779b97f4a7c15u;

static uint64_t next_random(void) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state;
}

static void read_seeds(void) {
  static char line[2 * MAX_BYTES + 2];
  while (seed_count < MAX_SEEDS && fgets(line, sizeof line, stdin)) {
    size_t length = 0;
    for (unsigned byte; length < MAX_BYTES && sscanf(line + 2 * length, "%2x", &byte) == 1;) seeds[seed_count][length++] = (unsigned char)byte;
    lengths[seed_count++] = length;
  }
}

static size_t mutate(unsigned char *bytes, size_t length) {
  for (uint64_t times = next_random() % 4; times > 0; times--) {
    size_t at = length == 0 ? 0 : next_random() % length;
    switch (next_random() % 5) {
      case 0: if (length > 0) bytes[at] ^= (unsigned char)(1u << next_random() % 8); break;
      case 1: if (length > 0) bytes[at] = (unsigned char)next_random(); break;
      case 2: length = at; break;
      case 3: if (length < MAX_BYTES) bytes[length++] = (unsigned char)next_random(); break;
      default: if (length > at + 4) put_number(bytes + at, next_random() % 3 == 0 ? MAX_OUTPUT + 1 : next_random() % 64, 4);
    }
  }
  return length;
}

/* Reads every byte an answer points to. */
static int check(enum frame_kind kind, const struct frame *frame, const unsigned char *bytes, size_t length) {
  static volatile unsigned char sink;
  if (kind == FRAME_PARTIAL || kind == FRAME_BAD) return kind == FRAME_PARTIAL ? length < MAX_REPLY : 1;
  if (frame->used > length || bytes[0] != FRAME_VERSION) return 0;
  if (kind == FRAME_HOLD) return frame->used == 6;
  for (int out = 0; out < 2; out++)
    for (size_t i = 0; i < frame->output[out].length; i++) sink = frame->output[out].bytes[i];
  (void)sink;
  return frame->used == 11 + frame->output[0].length + frame->output[1].length;
}

int main(int argc, char **argv) {
  static unsigned char scratch[MAX_BYTES];
  long counts[4] = {0};
  read_seeds();
  if (seed_count == 0) return 1;
  for (long round = argc > 1 ? atol(argv[1]) : 1000; round > 0; round--) {
    size_t seed = next_random() % seed_count;
    memcpy(scratch, seeds[seed], lengths[seed]);
    size_t length = mutate(scratch, lengths[seed]);
    unsigned char *exact = malloc(length == 0 ? 1 : length);
    if (exact == NULL) return 1;
    memcpy(exact, scratch, length);
    struct frame frame = {0};
    enum frame_kind kind = read_frame(exact, length, &frame);
    if (!check(kind, &frame, exact, length)) return 1;
    counts[kind]++;
    free(exact);
  }
  printf("partial %ld hold %ld reply %ld bad %ld\n", counts[0], counts[1], counts[2], counts[3]);
  return 0;
}
