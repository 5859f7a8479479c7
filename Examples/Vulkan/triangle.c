/* triangle.c: Vulkan draws a triangle into a heap's buffer, over what another device paints there, and the processor looks at it. Nothing
 * is copied, and each waits for the one before it by a sync_file. HEAP is what lheap_open() takes, PATH a socket of heapd.
 *
 *   for stage in vert frag; do glslangValidator -V --vn ${stage}_code -o triangle.$stage.h triangle.$stage; done
 *   cc triangle.c draw.c $(pkg-config --cflags --libs linuxheaps vulkan) -o triangle && ./triangle HEAP
 */
#define _GNU_SOURCE
#include "draw.h"

#include <errno.h>
#include <fcntl.h>
#include <linuxheaps.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { FRAMES = 2, PAINTER_SECONDS = 1 };
/* As a processor with its lowest byte first reads them. The triangle's is in triangle.frag too. */
static const uint32_t TRIANGLE = 0xff3399ff, BACKGROUNDS[FRAMES] = {0xff803300, 0xff008033};

/* `*error` is what a failed call wrote. */
static void check(int code, lheap_error **error) {
  if (code == LHEAP_OK) return;
  fprintf(stderr, "error: %s\n", lheap_error_message(*error));
  exit(1);
}

static void check_errno(int result, const char *operation) {
  if (result >= 0) return;
  fprintf(stderr, "error: %s: %s\n", operation, strerror(errno));
  exit(1);
}

/* --- The device before: a thread, with a fence of the kernel's for tests (drivers/dma-buf/sw_sync.c) --- */

struct painter {
  lheap_mapping *mapping;
  uint32_t colour;
  int timeline; /* -1 where this process has none: as root, with debugfs and CONFIG_SW_SYNC, it has. */
  pthread_t thread;
};

static void *paint(void *data) {
  struct painter *painter = data;
  lheap_error *error = NULL;
  if (painter->timeline >= 0) sleep(PAINTER_SECONDS);
  uint32_t *pixels = lheap_mapping_data(painter->mapping);
  size_t count = lheap_mapping_byte_count(painter->mapping) / sizeof *pixels;
  for (size_t index = 0; index < count; index++) pixels[index] = painter->colour;
  check(lheap_mapping_end(painter->mapping, LHEAP_WRITE, &error), &error);
  lheap_unmap(painter->mapping);
  uint32_t step = 1;
  if (painter->timeline >= 0) check_errno(ioctl(painter->timeline, _IOW('W', 1, uint32_t), &step), "SW_SYNC_IOC_INC");
  return NULL;
}

/* Paints the buffer, later, and has whoever uses it wait for that. */
static void start_painter(struct painter *painter, lheap_vmo *vmo) {
  lheap_error *error = NULL;
  check(lheap_map(vmo, LHEAP_READ_WRITE, &painter->mapping, &error), &error);
  /* This waits for the buffer's fences: before its own is one of them. */
  check(lheap_mapping_begin(painter->mapping, LHEAP_WRITE, &error), &error);
  painter->timeline = open("/sys/kernel/debug/sync/sw_sync", O_RDWR | O_CLOEXEC);
  if (painter->timeline >= 0) {
    struct {
      uint32_t value;
      char name[32];
      int32_t fence;
    } created = {.value = 1, .name = "painter"};
    check_errno(ioctl(painter->timeline, _IOWR('W', 0, created), &created), "SW_SYNC_IOC_CREATE_FENCE");
    check(lheap_vmo_import_fence(vmo, created.fence, LHEAP_WRITE, &error), &error);
    close(created.fence);
  }
  errno = pthread_create(&painter->thread, NULL, paint, painter);
  check_errno(-errno, "pthread_create");
  /* Without a fence nobody would wait for it. */
  if (painter->timeline < 0) pthread_join(painter->thread, NULL);
}

static void join_painter(struct painter *painter) {
  if (painter->timeline < 0) return;
  pthread_join(painter->thread, NULL);
  close(painter->timeline);
}

/* --- The processor after --- */

static bool picture_is_right(lheap_vmo *vmo, struct layout layout, uint32_t background) {
  lheap_error *error = NULL;
  lheap_mapping *mapping = NULL;
  check(lheap_map(vmo, LHEAP_READ, &mapping, &error), &error);
  check(lheap_mapping_begin(mapping, LHEAP_READ, &error), &error);
  const char *bytes = (const char *)lheap_mapping_data(mapping) + layout.offset;
  int right = 0;
  for (int y = 0; y < SIDE; y++) {
    for (int x = 0; x < SIDE; x++) {
      uint32_t pixel;
      memcpy(&pixel, bytes + y * layout.row_byte_count + x * sizeof pixel, sizeof pixel);
      /* The corners are in triangle.vert. */
      right += pixel == (x >= 8 && y >= 8 && x + y < 64 ? TRIANGLE : background);
      if (y % 4 == 0 && x % 2 == 0) putchar(pixel == TRIANGLE ? '#' : pixel == background ? '.' : '?');
    }
    if (y % 4 == 0) putchar('\n');
  }
  check(lheap_mapping_end(mapping, LHEAP_READ, &error), &error);
  lheap_unmap(mapping);
  printf("%d of %d pixels are right\n", right, SIDE * SIDE);
  return right == SIDE * SIDE;
}

static const char *state(int fence) {
  return fence < 0 || lheap_fence_wait(fence, 0, NULL) == LHEAP_OK ? "signalled" : "pending";
}

int main(int count, char **words) {
  bool connects = count == 3 && strcmp(words[1], "--socket") == 0;
  if (count != 2 && !connects) {
    fprintf(stderr, "usage: triangle HEAP | triangle --socket PATH\n");
    return 64;
  }
  setlinebuf(stdout);
  lheap *heap = NULL;
  lheap_vmo *vmo = NULL;
  lheap_error *error = NULL;
  check(connects ? lheap_connect(words[2], &heap, &error) : lheap_open(words[1], 0, &heap, &error), &error);
  struct layout layout = open_picture();
  check(lheap_allocate(heap, layout.byte_count, NULL, &vmo, &error), &error);
  printf("the picture is in a buffer of %s\n", lheap_vmo_heap_name(vmo));
  int fd = fcntl(lheap_vmo_lend_fd(vmo), F_DUPFD_CLOEXEC, 0);
  check_errno(fd, "F_DUPFD_CLOEXEC");
  import_memory(fd);

  for (int frame = 0; frame < FRAMES; frame++) {
    struct painter painter = {.colour = BACKGROUNDS[frame]};
    start_painter(&painter, vmo);
    int painted = -1;
    check(lheap_vmo_export_fence(vmo, LHEAP_WRITE, &painted, &error), &error);
    const char *before = state(painted);
    int drawn = draw(painted);
    printf("fences: the painter's %s before draw(), the triangle's %s after it\n", before, state(drawn));
    if (drawn >= 0) {
      check(lheap_vmo_import_fence(vmo, drawn, LHEAP_WRITE, &error), &error);
      close(drawn);
    }
    if (!picture_is_right(vmo, layout, BACKGROUNDS[frame])) return 1;
    join_painter(&painter);
  }

  close_picture();
  check(lheap_delete(heap, vmo, &error), &error); /* Returns when the driver has let go of it as well. */
  lheap_close(heap);
  return 0;
}
