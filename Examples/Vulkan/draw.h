/* draw.h: the part of triangle.c that knows Vulkan, and descriptors alone. What Vulkan refuses ends the program. */
#ifndef DRAW_H
#define DRAW_H
#include <stdint.h>

/* Pixels of the picture's width and of its height. Each has 4 bytes: red, green, blue, alpha. */
enum { SIDE = 64 };

/* Where the picture is in its memory. */
struct layout {
  uint64_t byte_count, offset, row_byte_count;
};

/* Opens the first device that can do all of this, and makes an image, which has no memory yet. */
struct layout open_picture(void);
/* Takes a descriptor of a dma-buf, which is the image's memory from now on. */
void import_memory(int fd);
/* Takes a sync_file, draws the triangle once that has signalled, and returns one that signals when it is drawn; -1 where it is. */
int draw(int fence);
/* Lets go of the memory, when the device has done its work. */
void close_picture(void);
#endif
