// The machine's clock as a test wants it, for one process tree and without touching the machine: preloaded, it adds what the first eight
// octets of the file $CLOCK_SHIM say (nanoseconds, signed) to CLOCK_REALTIME, and lets adjtimex(2) say that nobody keeps the clock while the next
// eight are not zero. The file is mapped before the process locks itself down, so the test may write to it at any time.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t* shift;

__attribute__((constructor)) static void Map(void) {
  const char* path = getenv("CLOCK_SHIM");
  const int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  void* page = fd < 0 ? MAP_FAILED : mmap(NULL, 16, PROT_READ, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) _exit(99);  // a test that moves nothing must not pass
  close(fd);
  shift = page;
}

int clock_gettime(clockid_t clock, struct timespec* now) {
  const int failed = (int)syscall(SYS_clock_gettime, clock, now);
  if (failed != 0 || clock != CLOCK_REALTIME || shift == NULL) return failed;
  const int64_t ns = now->tv_sec * INT64_C(1000000000) + now->tv_nsec + shift[0];
  now->tv_sec = ns / INT64_C(1000000000);
  now->tv_nsec = ns % INT64_C(1000000000);
  return 0;
}

int adjtimex(struct timex* state) {
  const int answer = (int)syscall(SYS_adjtimex, state);
  if (shift == NULL || answer < 0) return answer;
  state->status = shift[1] == 0 ? state->status & ~STA_UNSYNC : state->status | STA_UNSYNC;
  return shift[1] == 0 ? TIME_OK : TIME_ERROR;
}
