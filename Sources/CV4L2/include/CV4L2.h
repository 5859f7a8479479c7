#ifndef C_V4L2_H
#define C_V4L2_H

#ifdef __linux__
#include <linux/videodev2.h>
#include <stdbool.h>
#include <stdint.h>

// The requests of linux/videodev2.h that streaming of dma-bufs takes, with the two interfaces, of one
// plane and of several, behind one shape. A function that can fail returns -1 with the cause in `errno`
// and retries nothing.

/// What a queue carries: `struct v4l2_pix_format`, or the same fields of `v4l2_pix_format_mplane`.
struct CV4L2_image {
    uint32_t width;
    uint32_t height;
    uint32_t pixel_format;
    /// Buffers for each frame.
    uint32_t planes;
    uint32_t bytes_per_line;
    uint32_t size;
    /// `enum v4l2_field`.
    uint32_t field;
};

/// A `struct v4l2_format`, whole.
struct CV4L2_setting {
    uint64_t words[26];
};

/// A buffer as it comes back from a queue.
struct CV4L2_buffer {
    uint32_t index;
    uint32_t flags;
    uint32_t sequence;
    uint32_t bytes_used;
    /// Of `CLOCK_MONOTONIC` where the flags say `V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC`.
    int64_t microseconds;
};

/// `VIDIOC_QUERYCAP`. The strings end with NUL.
int CV4L2_capabilities(int device, struct v4l2_capability *_Nonnull capability);

/// `VIDIOC_ENUM_FMT`: EINVAL after the last.
int CV4L2_enumerate_format(int device, uint32_t type, uint32_t index,
                           struct v4l2_fmtdesc *_Nonnull format);

/// `VIDIOC_ENUM_FRAMESIZES`: EINVAL after the last. 1, and the largest size, where sizes are a range.
int CV4L2_enumerate_size(int device, uint32_t pixel_format, uint32_t index, uint32_t *_Nonnull width,
                         uint32_t *_Nonnull height);

/// `VIDIOC_G_FMT`.
int CV4L2_get_format(int device, uint32_t type, struct CV4L2_image *_Nonnull image);

/// `VIDIOC_G_FMT`, to be set again.
int CV4L2_save_format(int device, uint32_t type, struct CV4L2_setting *_Nonnull setting);

/// `VIDIOC_S_FMT` of what was saved.
int CV4L2_restore_format(int device, const struct CV4L2_setting *_Nonnull setting);

/// `VIDIOC_S_FMT`, or `VIDIOC_TRY_FMT`, for whole frames (`V4L2_FIELD_NONE`): the driver changes what it
/// cannot do.
int CV4L2_set_format(int device, uint32_t type, bool is_trial, struct CV4L2_image *_Nonnull image);

/// `VIDIOC_REQBUFS` for `V4L2_MEMORY_DMABUF`. `capabilities` is 0 before Linux 4.20.
int CV4L2_request_buffers(int device, uint32_t type, uint32_t *_Nonnull count,
                          uint32_t *_Nonnull capabilities);

/// The kinds of memory that a queue takes (`V4L2_BUF_CAP_SUPPORTS_*`), told to a request for no buffers. 0 before Linux 4.20,
/// unless it refuses dma-bufs and takes a request for memory of its own.
int CV4L2_memory(int device, uint32_t type, uint32_t *_Nonnull capabilities);

/// `VIDIOC_QBUF` of one dma-buf.
int CV4L2_queue(int device, uint32_t type, uint32_t index, int buffer, uint32_t length,
                uint32_t bytes_used);

/// `VIDIOC_DQBUF`: EAGAIN where none is done and the device is non-blocking.
int CV4L2_dequeue(int device, uint32_t type, struct CV4L2_buffer *_Nonnull buffer);

/// `VIDIOC_STREAMON`, `VIDIOC_STREAMOFF`.
int CV4L2_stream(int device, uint32_t type, bool is_on);

#endif
#endif
