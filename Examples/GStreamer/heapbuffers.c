/* heapbuffers.c: a GStreamer element that lets frames through, and has upstream make them in buffers of a dma-buf heap. A camera writes
 * into those by itself, and a display scans them out: nothing is copied.
 *
 *   cc -shared -fPIC heapbuffers.c -o libgstheapbuffers.so \
 *     $(pkg-config --cflags --libs linuxheaps gstreamer-video-1.0 gstreamer-allocators-1.0)
 *   GST_PLUGIN_PATH=. gst-launch-1.0 v4l2src io-mode=dmabuf-import ! video/x-raw,width=640,height=480 \
 *     ! heapbuffers contiguous=true ! kmssink driver-name=vkms
 *
 * Properties: `heap` is what lheap_open() takes, `socket` a heapd's; without either the kernel's heaps serve, by the memory that is asked
 * for. With `contiguous` that is physically contiguous.
 */
#include <gst/allocators/allocators.h>
#include <gst/base/gstbasetransform.h>
#include <gst/video/video.h>
#include <linuxheaps.h>

#define PACKAGE "linux-heaps"

/* --- The allocator: each memory is a buffer of the heap, and ends with its last descriptor, mapping and import --- */

typedef struct {
  GstDmaBufAllocator parent;
  lheap *heap;
  unsigned flags;
  /* Whoever still has frames keeps the allocator, and not the element, which is told of errors. */
  GWeakRef element;
} HeapAllocator;
typedef GstDmaBufAllocatorClass HeapAllocatorClass;

G_DEFINE_TYPE(HeapAllocator, heap_allocator, GST_TYPE_DMABUF_ALLOCATOR)

static void refused(GstElement *element, lheap_error *error) {
  const char *message = error ? lheap_error_message(error) : "the heap's buffers are no dma-bufs, which devices need";
  if (element) GST_ELEMENT_ERROR(element, RESOURCE, FAILED, ("%s", message), (NULL));
  lheap_error_free(error);
}

static GstMemory *heap_allocator_alloc(GstAllocator *allocator, gsize size, GstAllocationParams *parameters) {
  HeapAllocator *self = (HeapAllocator *)allocator;
  lheap_settings settings = {.size = sizeof settings, .flags = self->flags};
  lheap_error *error = NULL;
  /* Buffers begin at a page, which is alignment enough, and are zeroed. */
  gsize whole = parameters->prefix + size + parameters->padding;
  lheap_vmo *vmo = NULL;
  lheap_allocate(self->heap, whole, &settings, &vmo, &error);
  if (vmo == NULL || lheap_vmo_kind(vmo) != LHEAP_DMA_BUF) {
    GstElement *element = g_weak_ref_get(&self->element);
    refused(element, error);
    g_clear_object(&element);
    lheap_vmo_close(vmo);
    return NULL;
  }
  GstMemory *memory = gst_dmabuf_allocator_alloc(allocator, lheap_vmo_release_fd(vmo), whole);
  gst_memory_resize(memory, parameters->prefix, size);
  return memory;
}

static void heap_allocator_finalize(GObject *object) {
  HeapAllocator *self = (HeapAllocator *)object;
  lheap_close(self->heap);
  g_weak_ref_clear(&self->element);
  G_OBJECT_CLASS(heap_allocator_parent_class)->finalize(object);
}

static void heap_allocator_class_init(HeapAllocatorClass *class) {
  GST_ALLOCATOR_CLASS(class)->alloc = heap_allocator_alloc;
  G_OBJECT_CLASS(class)->finalize = heap_allocator_finalize;
}

static void heap_allocator_init(HeapAllocator *self) {
  /* Its parent wraps descriptors alone; this one allocates as any other. */
  GST_OBJECT_FLAG_UNSET(self, GST_ALLOCATOR_FLAG_CUSTOM_ALLOC);
  g_weak_ref_init(&self->element, NULL);
}

/* --- The element --- */

typedef struct {
  GstBaseTransform parent;
  char *heap;
  char *socket;
  gboolean contiguous;
  HeapAllocator *allocator;
} HeapBuffers;
typedef GstBaseTransformClass HeapBuffersClass;

G_DEFINE_TYPE(HeapBuffers, heap_buffers, GST_TYPE_BASE_TRANSFORM)
GST_ELEMENT_REGISTER_DEFINE(heapbuffers, "heapbuffers", GST_RANK_NONE, heap_buffers_get_type())

enum { HEAP = 1, SOCKET, CONTIGUOUS };

static gboolean heap_buffers_start(GstBaseTransform *transform) {
  HeapBuffers *self = (HeapBuffers *)transform;
  lheap_error *error = NULL;
  lheap *heap;
  int code = self->socket ? lheap_connect(self->socket, &heap, &error) : lheap_open(self->heap, 0, &heap, &error);
  if (code != LHEAP_OK) {
    refused(GST_ELEMENT(self), error);
    return FALSE;
  }
  self->allocator = gst_object_ref_sink(g_object_new(heap_allocator_get_type(), NULL));
  self->allocator->heap = heap;
  self->allocator->flags = self->contiguous ? LHEAP_CONTIGUOUS : 0;
  g_weak_ref_set(&self->allocator->element, self);
  return TRUE;
}

static gboolean heap_buffers_stop(GstBaseTransform *transform) {
  gst_clear_object(&((HeapBuffers *)transform)->allocator);
  return TRUE;
}

/* Upstream asks where its frames are to be. */
static gboolean heap_buffers_propose_allocation(GstBaseTransform *transform, GstQuery *decided, GstQuery *query) {
  HeapBuffers *self = (HeapBuffers *)transform;
  GstVideoInfoDmaDrm info;
  GstCaps *caps;
  guint size, least = 0;
  gst_query_parse_allocation(query, &caps, NULL);
  if (caps == NULL) return FALSE;
  if (gst_video_is_dma_drm_caps(caps)) {
    if (!gst_video_info_dma_drm_from_caps(&info, caps)) return FALSE;
  } else if (!gst_video_info_from_caps(&info.vinfo, caps)) return FALSE;
  size = GST_VIDEO_INFO_SIZE(&info.vinfo);
  /* Downstream says which metadata it reads and how many frames it keeps. */
  GST_BASE_TRANSFORM_CLASS(heap_buffers_parent_class)->propose_allocation(transform, decided, query);
  while (gst_query_get_n_allocation_pools(query) > 0) {
    guint kept;
    gst_query_parse_nth_allocation_pool(query, 0, NULL, NULL, &kept, NULL);
    gst_query_remove_nth_allocation_pool(query, 0);
    least = MAX(least, kept);
  }
  while (gst_query_get_n_allocation_params(query) > 0) gst_query_remove_nth_allocation_param(query, 0);
  /* Who takes the pool configures it with the query's allocator, and with none where the query has none. */
  GstBufferPool *pool = gst_video_buffer_pool_new();
  gst_query_add_allocation_pool(query, pool, size, least, 0);
  gst_query_add_allocation_param(query, GST_ALLOCATOR(self->allocator), NULL);
  gst_object_unref(pool);
  return TRUE;
}

static void heap_buffers_set_property(GObject *object, guint id, const GValue *value, GParamSpec *property) {
  HeapBuffers *self = (HeapBuffers *)object;
  switch (id) {
    case HEAP:
      g_free(self->heap);
      self->heap = g_value_dup_string(value);
      break;
    case SOCKET:
      g_free(self->socket);
      self->socket = g_value_dup_string(value);
      break;
    case CONTIGUOUS:
      self->contiguous = g_value_get_boolean(value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, property);
  }
}

static void heap_buffers_get_property(GObject *object, guint id, GValue *value, GParamSpec *property) {
  HeapBuffers *self = (HeapBuffers *)object;
  switch (id) {
    case HEAP:
      g_value_set_string(value, self->heap);
      break;
    case SOCKET:
      g_value_set_string(value, self->socket);
      break;
    case CONTIGUOUS:
      g_value_set_boolean(value, self->contiguous);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, property);
  }
}

static void heap_buffers_finalize(GObject *object) {
  HeapBuffers *self = (HeapBuffers *)object;
  g_free(self->heap);
  g_free(self->socket);
  G_OBJECT_CLASS(heap_buffers_parent_class)->finalize(object);
}

static void heap_buffers_class_init(HeapBuffersClass *class) {
  static GstStaticPadTemplate sink =
      GST_STATIC_PAD_TEMPLATE("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS("video/x-raw(ANY)"));
  static GstStaticPadTemplate source =
      GST_STATIC_PAD_TEMPLATE("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS("video/x-raw(ANY)"));
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY;
  GObjectClass *object = G_OBJECT_CLASS(class);
  GstElementClass *element = GST_ELEMENT_CLASS(class);
  object->set_property = heap_buffers_set_property;
  object->get_property = heap_buffers_get_property;
  object->finalize = heap_buffers_finalize;
  g_object_class_install_property(
      object, HEAP, g_param_spec_string("heap", "Heap", "Name or path of a heap's node, or udmabuf", NULL, flags));
  g_object_class_install_property(
      object, SOCKET, g_param_spec_string("socket", "Socket", "Socket of a heapd, in place of a heap", NULL, flags));
  g_object_class_install_property(
      object, CONTIGUOUS,
      g_param_spec_boolean("contiguous", "Contiguous", "Physically contiguous memory, never other", FALSE, flags));
  gst_element_class_add_static_pad_template(element, &sink);
  gst_element_class_add_static_pad_template(element, &source);
  gst_element_class_set_static_metadata(
      element, "Heap buffers", "Generic", "Has upstream's frames in buffers of a dma-buf heap", PACKAGE);
  class->start = heap_buffers_start;
  class->stop = heap_buffers_stop;
  class->propose_allocation = heap_buffers_propose_allocation;
}

static void heap_buffers_init(HeapBuffers *self) { gst_base_transform_set_passthrough(GST_BASE_TRANSFORM(self), TRUE); }

static gboolean start(GstPlugin *plugin) { return GST_ELEMENT_REGISTER(heapbuffers, plugin); }

GST_PLUGIN_DEFINE(
    GST_VERSION_MAJOR, GST_VERSION_MINOR, heapbuffers, "Buffers of dma-buf heaps", start, "0.1", "Apache 2.0", PACKAGE,
    PACKAGE)
