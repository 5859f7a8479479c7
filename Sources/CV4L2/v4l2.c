#ifdef __linux__
#include <CV4L2.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

static bool is_multi_planar(uint32_t type) {
    return type == V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE || type == V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE;
}

int CV4L2_capabilities(int device, struct v4l2_capability *capability) {
    memset(capability, 0, sizeof *capability);
    return ioctl(device, VIDIOC_QUERYCAP, capability);
}

int CV4L2_enumerate_format(int device, uint32_t type, uint32_t index, struct v4l2_fmtdesc *format) {
    memset(format, 0, sizeof *format);
    format->type = type;
    format->index = index;
    return ioctl(device, VIDIOC_ENUM_FMT, format);
}

int CV4L2_enumerate_size(int device, uint32_t pixel_format, uint32_t index, uint32_t *width,
                         uint32_t *height) {
    struct v4l2_frmsizeenum size = {.index = index, .pixel_format = pixel_format};
    if (ioctl(device, VIDIOC_ENUM_FRAMESIZES, &size) != 0) return -1;
    if (size.type != V4L2_FRMSIZE_TYPE_DISCRETE) {
        *width = size.stepwise.max_width;
        *height = size.stepwise.max_height;
        return 1;
    }
    *width = size.discrete.width;
    *height = size.discrete.height;
    return 0;
}

static void read_image(const struct v4l2_format *format, struct CV4L2_image *image) {
    if (is_multi_planar(format->type)) {
        const struct v4l2_pix_format_mplane *pixels = &format->fmt.pix_mp;
        *image = (struct CV4L2_image){
            .width = pixels->width,
            .height = pixels->height,
            .pixel_format = pixels->pixelformat,
            .planes = pixels->num_planes,
            .bytes_per_line = pixels->plane_fmt[0].bytesperline,
            .size = pixels->plane_fmt[0].sizeimage,
            .field = pixels->field,
        };
    } else {
        const struct v4l2_pix_format *pixels = &format->fmt.pix;
        *image = (struct CV4L2_image){
            .width = pixels->width,
            .height = pixels->height,
            .pixel_format = pixels->pixelformat,
            .planes = 1,
            .bytes_per_line = pixels->bytesperline,
            .size = pixels->sizeimage,
            .field = pixels->field,
        };
    }
}

int CV4L2_get_format(int device, uint32_t type, struct CV4L2_image *image) {
    struct v4l2_format format = {.type = type};
    if (ioctl(device, VIDIOC_G_FMT, &format) != 0) return -1;
    read_image(&format, image);
    return 0;
}

_Static_assert(sizeof(struct v4l2_format) == sizeof(struct CV4L2_setting), "of 64-bit machines");

int CV4L2_save_format(int device, uint32_t type, struct CV4L2_setting *setting) {
    struct v4l2_format format = {.type = type};
    if (ioctl(device, VIDIOC_G_FMT, &format) != 0) return -1;
    memcpy(setting, &format, sizeof format);
    return 0;
}

int CV4L2_restore_format(int device, const struct CV4L2_setting *setting) {
    struct v4l2_format format;
    memcpy(&format, setting, sizeof format);
    return ioctl(device, VIDIOC_S_FMT, &format);
}

int CV4L2_set_format(int device, uint32_t type, bool is_trial, struct CV4L2_image *image) {
    // From the device's own, so that colour space and the like stay as they are.
    struct v4l2_format format = {.type = type};
    if (ioctl(device, VIDIOC_G_FMT, &format) != 0) return -1;
    if (is_multi_planar(type)) {
        struct v4l2_pix_format_mplane *pixels = &format.fmt.pix_mp;
        pixels->width = image->width;
        pixels->height = image->height;
        pixels->pixelformat = image->pixel_format;
        pixels->field = V4L2_FIELD_NONE;
        // The driver's own lengths.
        pixels->num_planes = 0;
        memset(pixels->plane_fmt, 0, sizeof pixels->plane_fmt);
    } else {
        struct v4l2_pix_format *pixels = &format.fmt.pix;
        pixels->width = image->width;
        pixels->height = image->height;
        pixels->pixelformat = image->pixel_format;
        pixels->field = V4L2_FIELD_NONE;
        pixels->bytesperline = 0;
        pixels->sizeimage = 0;
    }
    if (ioctl(device, is_trial ? VIDIOC_TRY_FMT : VIDIOC_S_FMT, &format) != 0) return -1;
    read_image(&format, image);
    return 0;
}

int CV4L2_request_buffers(int device, uint32_t type, uint32_t *count, uint32_t *capabilities) {
    struct v4l2_requestbuffers request = {
        .count = *count, .type = type, .memory = V4L2_MEMORY_DMABUF};
    if (ioctl(device, VIDIOC_REQBUFS, &request) != 0) return -1;
    *count = request.count;
    *capabilities = request.capabilities;
    return 0;
}

int CV4L2_memory(int device, uint32_t type, uint32_t *capabilities) {
    struct v4l2_requestbuffers request = {.type = type, .memory = V4L2_MEMORY_DMABUF};
    int result = ioctl(device, VIDIOC_REQBUFS, &request);
    if (result != 0 && errno == EINVAL) {
        // It answers nothing to a request for a kind that it does not take.
        request = (struct v4l2_requestbuffers){.type = type, .memory = V4L2_MEMORY_MMAP};
        result = ioctl(device, VIDIOC_REQBUFS, &request);
        // Without videobuf2 (v4l2loopback), and before Linux 4.20, it tells of no kinds. It took this one.
        if (result == 0 && request.capabilities == 0)
            request.capabilities = V4L2_BUF_CAP_SUPPORTS_MMAP;
    }
    *capabilities = request.capabilities;
    return result;
}

int CV4L2_queue(int device, uint32_t type, uint32_t index, int file, uint32_t length,
                uint32_t bytes_used) {
    struct v4l2_plane plane = {.m.fd = file, .length = length, .bytesused = bytes_used};
    struct v4l2_buffer buffer = {
        .index = index, .type = type, .memory = V4L2_MEMORY_DMABUF, .field = V4L2_FIELD_NONE};
    if (is_multi_planar(type)) {
        buffer.m.planes = &plane;
        buffer.length = 1;
    } else {
        buffer.m.fd = file;
        buffer.length = length;
        buffer.bytesused = bytes_used;
    }
    return ioctl(device, VIDIOC_QBUF, &buffer);
}

int CV4L2_dequeue(int device, uint32_t type, struct CV4L2_buffer *done) {
    struct v4l2_plane planes[VIDEO_MAX_PLANES] = {{0}};
    struct v4l2_buffer buffer = {.type = type, .memory = V4L2_MEMORY_DMABUF};
    if (is_multi_planar(type)) {
        buffer.m.planes = planes;
        buffer.length = VIDEO_MAX_PLANES;
    }
    if (ioctl(device, VIDIOC_DQBUF, &buffer) != 0) return -1;
    *done = (struct CV4L2_buffer){
        .index = buffer.index,
        .flags = buffer.flags,
        .sequence = buffer.sequence,
        .bytes_used = is_multi_planar(type) ? planes[0].bytesused : buffer.bytesused,
        .microseconds = (int64_t)buffer.timestamp.tv_sec * 1000000 + buffer.timestamp.tv_usec,
    };
    return 0;
}

int CV4L2_stream(int device, uint32_t type, bool is_on) {
    int number = (int)type;
    return ioctl(device, is_on ? VIDIOC_STREAMON : VIDIOC_STREAMOFF, &number);
}
#endif
