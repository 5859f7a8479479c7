/* gstreamer.c: shows a camera's frames by a pipeline of GStreamer, and fails unless each is in a buffer of the heap, the display scans out
 * that very buffer, and the camera's picture is in there. The kernel's list of all dma-bufs, descriptor 3, says which are the heap's.
 *
 *   gstreamer HEAP DRIVER PIPELINE 3< /sys/kernel/debug/dma_buf/bufinfo
 *
 * The pipeline has no sink, which is added: the display of DRIVER.
 */
#include <fcntl.h>
#include <gst/allocators/allocators.h>
#include <gst/gst.h>
#include <linuxheaps.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xf86drm.h>
#include <xf86drmMode.h>

enum { MOST_BUFFERS = 64, LIST = 3 };
typedef struct {
  uint64_t inodes[MOST_BUFFERS];
  size_t count;
} buffers;

static const char *heap;
static int display;
static unsigned frames;
static uint64_t latest;
static buffers arrived;
/* Of each kind the first is told. */
static enum { NOTHING, ARRIVED = 1, SHOWN = 2, OTHER = 4 } failed;

__attribute__((format(printf, 2, 3))) static void fail(int kind, const char *format, ...) {
  if (!(failed & kind)) {
    va_list values;
    va_start(values, format);
    printf("FAIL  ");
    vprintf(format, values);
    printf("\n");
    va_end(values);
  }
  failed |= kind;
}

static void refused(int kind, lheap_error *error) {
  fail(kind, "%s", lheap_error_message(error));
  lheap_error_free(error);
}

static bool has(const buffers *set, uint64_t inode) {
  for (size_t index = 0; index < set->count; index++)
    if (set->inodes[index] == inode) return true;
  return false;
}

static void add(buffers *set, uint64_t inode) {
  if (!has(set, inode) && set->count < MOST_BUFFERS) set->inodes[set->count++] = inode;
}

/* The heap's buffers, whoever has them. */
static buffers of_the_heap(void) {
  static char text[1 << 16];
  buffers found = {.count = 0};
  size_t length = 0;
  lseek(LIST, 0, SEEK_SET);
  for (ssize_t got; (got = read(LIST, text + length, sizeof text - 1 - length)) > 0; length += got) continue;
  text[length] = 0;
  for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
    char exporter[64];
    unsigned long inode;
    if (sscanf(line, "%*u %*x %*x %*d %63s %lu", exporter, &inode) != 2) continue;
    if (strcmp(exporter, heap) == 0) add(&found, inode);
  }
  return found;
}

/* A descriptor of the framebuffer that is scanned out, -1 where there is none. */
static int scanned_out(drmModeFB2Ptr *framebuffer) {
  int fd = -1;
  *framebuffer = NULL;
  drmModeResPtr resources = drmModeGetResources(display);
  for (int index = 0; resources && index < resources->count_crtcs && *framebuffer == NULL; index++) {
    drmModeCrtcPtr crtc = drmModeGetCrtc(display, resources->crtcs[index]);
    if (crtc && crtc->buffer_id) *framebuffer = drmModeGetFB2(display, crtc->buffer_id);
    drmModeFreeCrtc(crtc);
  }
  drmModeFreeResources(resources);
  if (*framebuffer == NULL || (*framebuffer)->handles[0] == 0) return -1;
  if (drmPrimeHandleToFD(display, (*framebuffer)->handles[0], DRM_CLOEXEC, &fd) != 0) fd = -1;
  drmCloseBufferHandle(display, (*framebuffer)->handles[0]);
  return fd;
}

/* The display shows the latest frame from its own buffer. */
static void check_display(void) {
  drmModeFB2Ptr framebuffer;
  int fd = scanned_out(&framebuffer);
  lheap_buffer_info buffer = {.size = sizeof buffer};
  lheap_error *error = NULL;
  if (fd < 0) fail(SHOWN, "the display scans out nothing");
  else if (lheap_fd_info(fd, &buffer, &error) != LHEAP_OK) refused(SHOWN, error);
  else if (buffer.inode != latest)
    fail(SHOWN, "the display scans out a buffer of %s, and frame %u is not in that", buffer.exporter, frames);
  if (fd >= 0) close(fd);
  drmModeFreeFB2(framebuffer);
}

static GstPadProbeReturn arrives(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
  (void)pad, (void)data;
  GstBuffer *frame = GST_PAD_PROBE_INFO_BUFFER(info);
  GstMemory *memory = gst_buffer_peek_memory(frame, 0);
  lheap_buffer_info buffer = {.size = sizeof buffer};
  lheap_error *error = NULL;
  /* The sink's thread has shown the one before. */
  if (frames > 0) check_display();
  frames++;
  latest = 0;
  if (gst_buffer_n_memory(frame) != 1 || !gst_is_dmabuf_memory(memory))
    fail(ARRIVED, "frame %u is in no dma-buf", frames);
  else if (lheap_fd_info(gst_dmabuf_memory_get_fd(memory), &buffer, &error) != LHEAP_OK) refused(ARRIVED, error);
  else {
    latest = buffer.inode;
    add(&arrived, latest);
    if (strcmp(buffer.exporter, heap) != 0) fail(ARRIVED, "frame %u is in a buffer of %s", frames, buffer.exporter);
  }
  return GST_PAD_PROBE_OK;
}

/* vivid's first test pattern, read from the framebuffer: white, yellow, cyan, green, magenta, red, blue, black. */
static void check_picture(void) {
  static const unsigned bars[] = {0xffffff, 0xffff00, 0x00ffff, 0x00ff00, 0xff00ff, 0xff0000, 0x0000ff, 0x000000};
  drmModeFB2Ptr framebuffer;
  lheap_vmo *vmo = NULL;
  lheap_mapping *mapping = NULL;
  lheap_error *error = NULL;
  int fd = scanned_out(&framebuffer);
  if (fd < 0) return;
  if (lheap_vmo_adopt_take(fd, &vmo, &error) || lheap_map(vmo, LHEAP_READ, &mapping, &error) ||
      lheap_mapping_begin(mapping, LHEAP_READ, &error)) {
    refused(OTHER, error);
  } else {
    /* Below the text that vivid writes. */
    const uint32_t *pixels = lheap_mapping_data(mapping);
    const uint32_t *line = pixels + framebuffer->height * 5 / 6 * framebuffer->pitches[0] / sizeof *pixels;
    for (unsigned index = 0; index < 8; index++) {
      unsigned pixel = line[(2 * index + 1) * framebuffer->width / 16], seen = 0;
      for (unsigned shift = 0; shift < 24; shift += 8)
        if ((pixel >> shift & 0xff) >= 0x60) seen |= 0xffu << shift;
      if (seen != bars[index]) fail(OTHER, "bar %u is %08x", index, pixel);
    }
    lheap_mapping_end(mapping, LHEAP_READ, NULL);
  }
  lheap_unmap(mapping);
  lheap_vmo_close(vmo);
  drmModeFreeFB2(framebuffer);
}

int main(int count, char **words) {
  GError *wrong = NULL;
  setvbuf(stdout, NULL, _IOLBF, 0);
  gst_init(NULL, NULL);
  if (count != 4) return 64;
  heap = words[1];
  display = drmOpen(words[2], NULL);
  if (display < 0) {
    perror(words[2]);
    return 1;
  }
  buffers before = of_the_heap();
  char *text = g_strdup_printf("%s ! kmssink name=sink fd=%d force-modesetting=true sync=false", words[3], display);
  GstElement *pipeline = gst_parse_launch(text, &wrong);
  g_free(text);
  if (wrong) {
    printf("FAIL  %s\n", wrong->message);
    return 1;
  }
  GstElement *sink = gst_bin_get_by_name(GST_BIN(pipeline), "sink");
  GstPad *pad = gst_element_get_static_pad(sink, "sink");
  gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, arrives, NULL, NULL);
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  GstBus *bus = gst_element_get_bus(pipeline);
  GstMessage *message = gst_bus_timed_pop_filtered(bus, 60 * GST_SECOND, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  if (message == NULL) fail(OTHER, "the pipeline did not end");
  else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
    gst_message_parse_error(message, &wrong, NULL);
    fail(OTHER, "%s: %s", GST_OBJECT_NAME(GST_MESSAGE_SRC(message)), wrong->message);
    g_error_free(wrong);
  } else if (frames == 0) fail(OTHER, "no frame came");
  else {
    check_display();
    check_picture();
    buffers all = of_the_heap();
    for (size_t index = 0; index < all.count; index++)
      if (!has(&before, all.inodes[index]) && !has(&arrived, all.inodes[index]))
        fail(OTHER, "the heap's buffer %lu did not come to the display", (unsigned long)all.inodes[index]);
    for (size_t index = 0; index < arrived.count; index++)
      if (!has(&all, arrived.inodes[index]))
        fail(OTHER, "buffer %lu is none of the heap's", (unsigned long)arrived.inodes[index]);
  }
  if (message) gst_message_unref(message);
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(bus);
  gst_object_unref(pad);
  gst_object_unref(sink);
  gst_object_unref(pipeline);
  /* The last frame's end is heard by a service a moment later. */
  for (unsigned tries = 0; of_the_heap().count > before.count; tries++) {
    if (tries == 50) {
      fail(OTHER, "%zu buffers of the heap are left", of_the_heap().count - before.count);
      break;
    }
    usleep(100000);
  }
  if (failed) return 1;
  printf("%u frames of %s in %zu buffers, and the display scanned out those\n", frames, heap, arrived.count);
  return 0;
}
