/* draw.c: a triangle by Vulkan 1.3 in memory that comes as a dma-buf, between two sync_files. */
#include "draw.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vulkan.h>

#include "triangle.frag.h"
#include "triangle.vert.h"

enum { MOST_DEVICES = 16, MOST_EXTENSIONS = 1024, REQUIRED = 4 };
static const VkExternalMemoryHandleTypeFlagBits DMA_BUF = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT;
static const VkExternalSemaphoreHandleTypeFlagBits SYNC_FILE = VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_SYNC_FD_BIT;
static const VkFormat FORMAT = VK_FORMAT_R8G8B8A8_UNORM;
static const uint64_t LINEAR = 0; /* DRM_FORMAT_MOD_LINEAR */
static const VkImageSubresourceRange WHOLE = {.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT, .levelCount = 1, .layerCount = 1};
/* Without the last, which is not required, images have VK_IMAGE_TILING_LINEAR. */
static const char *const EXTENSIONS[] = {
    VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME, VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME,
    VK_KHR_EXTERNAL_SEMAPHORE_FD_EXTENSION_NAME, VK_EXT_QUEUE_FAMILY_FOREIGN_EXTENSION_NAME,
    VK_EXT_IMAGE_DRM_FORMAT_MODIFIER_EXTENSION_NAME};

static VkDevice device;
static VkQueue queue;
static bool has_modifiers;
static VkImage image;
static VkMemoryRequirements needs;
static VkDeviceMemory memory;
static VkImageView view;
static VkSemaphore before, after;
static VkCommandBuffer commands;

static void check(VkResult result, const char *operation) {
  if (result == VK_SUCCESS) return;
  fprintf(stderr, "error: %s: VkResult %d\n", operation, result);
  exit(1);
}

static PFN_vkVoidFunction function(const char *name) {
  PFN_vkVoidFunction found = vkGetDeviceProcAddr(device, name);
  if (found == NULL) check(VK_ERROR_EXTENSION_NOT_PRESENT, name);
  return found;
}

static bool has_extension(VkPhysicalDevice physical, const char *name) {
  static VkExtensionProperties found[MOST_EXTENSIONS];
  uint32_t count = MOST_EXTENSIONS;
  check(vkEnumerateDeviceExtensionProperties(physical, NULL, &count, found), "vkEnumerateDeviceExtensionProperties");
  for (uint32_t index = 0; index < count; index++) {
    if (strcmp(found[index].extensionName, name) == 0) return true;
  }
  return false;
}

/* What is required and the device has not; NULL where it has all. */
static const char *lack(VkPhysicalDevice physical) {
  for (int index = 0; index < REQUIRED; index++) {
    if (!has_extension(physical, EXTENSIONS[index])) return EXTENSIONS[index];
  }
  VkPhysicalDeviceExternalSemaphoreInfo asked = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_SEMAPHORE_INFO, .handleType = SYNC_FILE};
  VkExternalSemaphoreProperties semaphores = {.sType = VK_STRUCTURE_TYPE_EXTERNAL_SEMAPHORE_PROPERTIES};
  vkGetPhysicalDeviceExternalSemaphoreProperties(physical, &asked, &semaphores);
  if (!(semaphores.externalSemaphoreFeatures & VK_EXTERNAL_SEMAPHORE_FEATURE_IMPORTABLE_BIT)) return "import of sync_files";
  if (!(semaphores.externalSemaphoreFeatures & VK_EXTERNAL_SEMAPHORE_FEATURE_EXPORTABLE_BIT)) return "export of sync_files";
  return NULL;
}

static VkPhysicalDevice choose_device(void) {
  VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .apiVersion = VK_API_VERSION_1_3};
  VkInstanceCreateInfo asked = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &application};
  VkInstance instance;
  check(vkCreateInstance(&asked, NULL, &instance), "vkCreateInstance");
  VkPhysicalDevice found[MOST_DEVICES];
  uint32_t count = MOST_DEVICES;
  VkResult result = vkEnumeratePhysicalDevices(instance, &count, found);
  if (result != VK_INCOMPLETE) check(result, "vkEnumeratePhysicalDevices");
  for (uint32_t index = 0; index < count; index++) {
    VkPhysicalDeviceDriverProperties driver = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &driver};
    vkGetPhysicalDeviceProperties2(found[index], &properties);
    const char *lacking = properties.properties.apiVersion < VK_API_VERSION_1_3 ? "Vulkan 1.3" : lack(found[index]);
    has_modifiers = has_extension(found[index], VK_EXT_IMAGE_DRM_FORMAT_MODIFIER_EXTENSION_NAME);
    printf("%s, %s, %s: %s%s\n", properties.properties.deviceName, driver.driverName, driver.driverInfo,
           lacking ? "has no " : has_modifiers ? "linear by DRM's modifier" : "linear by Vulkan's tiling", lacking ? lacking : "");
    if (lacking == NULL) return found[index];
  }
  fprintf(stderr, "error: none of %u Vulkan devices can do what this needs\n", count);
  exit(1);
}

static void open_device(void) {
  VkPhysicalDevice physical = choose_device();
  /* The first family of every driver can draw. */
  float priority = 1;
  VkDeviceQueueCreateInfo queues = {
      .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
  VkPhysicalDeviceVulkan13Features features = {
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES, .synchronization2 = true, .dynamicRendering = true};
  VkDeviceCreateInfo asked = {
      .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
      .pNext = &features,
      .queueCreateInfoCount = 1,
      .pQueueCreateInfos = &queues,
      .enabledExtensionCount = has_modifiers ? REQUIRED + 1 : REQUIRED,
      .ppEnabledExtensionNames = EXTENSIONS};
  check(vkCreateDevice(physical, &asked, NULL, &device), "vkCreateDevice");
  vkGetDeviceQueue(device, 0, 0, &queue);
  VkExportSemaphoreCreateInfo exported = {.sType = VK_STRUCTURE_TYPE_EXPORT_SEMAPHORE_CREATE_INFO, .handleTypes = SYNC_FILE};
  VkSemaphoreCreateInfo semaphore = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
  check(vkCreateSemaphore(device, &semaphore, NULL, &before), "vkCreateSemaphore");
  semaphore.pNext = &exported;
  check(vkCreateSemaphore(device, &semaphore, NULL, &after), "vkCreateSemaphore for export");
}

struct layout open_picture(void) {
  open_device();
  VkImageDrmFormatModifierListCreateInfoEXT modifiers = {
      .sType = VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_LIST_CREATE_INFO_EXT,
      .drmFormatModifierCount = 1,
      .pDrmFormatModifiers = &LINEAR};
  VkExternalMemoryImageCreateInfo external = {
      .sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO,
      .pNext = has_modifiers ? &modifiers : NULL,
      .handleTypes = DMA_BUF};
  VkImageCreateInfo asked = {
      .sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
      .pNext = &external,
      .imageType = VK_IMAGE_TYPE_2D,
      .format = FORMAT,
      .extent = {SIDE, SIDE, 1},
      .mipLevels = 1,
      .arrayLayers = 1,
      .samples = VK_SAMPLE_COUNT_1_BIT,
      .tiling = has_modifiers ? VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT : VK_IMAGE_TILING_LINEAR,
      .usage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT};
  check(vkCreateImage(device, &asked, NULL, &image), "vkCreateImage for a dma-buf");
  vkGetImageMemoryRequirements(device, image, &needs);
  VkImageSubresource plane = {
      .aspectMask = has_modifiers ? VK_IMAGE_ASPECT_MEMORY_PLANE_0_BIT_EXT : VK_IMAGE_ASPECT_COLOR_BIT};
  VkSubresourceLayout layout;
  vkGetImageSubresourceLayout(device, image, &plane, &layout);
  return (struct layout){.byte_count = needs.size, .offset = layout.offset, .row_byte_count = layout.rowPitch};
}

static VkPipelineShaderStageCreateInfo stage(VkShaderStageFlagBits which, const uint32_t *code, size_t size) {
  VkShaderModuleCreateInfo asked = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .codeSize = size, .pCode = code};
  VkShaderModule module;
  check(vkCreateShaderModule(device, &asked, NULL, &module), "vkCreateShaderModule");
  return (VkPipelineShaderStageCreateInfo){
      .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO, .stage = which, .module = module, .pName = "main"};
}

static VkPipeline make_pipeline(void) {
  VkPipelineLayoutCreateInfo no_resources = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
  VkPipelineLayout layout;
  check(vkCreatePipelineLayout(device, &no_resources, NULL, &layout), "vkCreatePipelineLayout");
  VkPipelineShaderStageCreateInfo stages[] = {
      stage(VK_SHADER_STAGE_VERTEX_BIT, vert_code, sizeof vert_code),
      stage(VK_SHADER_STAGE_FRAGMENT_BIT, frag_code, sizeof frag_code)};
  VkPipelineVertexInputStateCreateInfo no_input = {.sType = VK_STRUCTURE_TYPE_PIPELINE_VERTEX_INPUT_STATE_CREATE_INFO};
  VkPipelineInputAssemblyStateCreateInfo triangles = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_INPUT_ASSEMBLY_STATE_CREATE_INFO, .topology = VK_PRIMITIVE_TOPOLOGY_TRIANGLE_LIST};
  VkViewport viewport = {.width = SIDE, .height = SIDE, .maxDepth = 1};
  VkRect2D scissor = {.extent = {SIDE, SIDE}};
  VkPipelineViewportStateCreateInfo everywhere = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_VIEWPORT_STATE_CREATE_INFO,
      .viewportCount = 1,
      .pViewports = &viewport,
      .scissorCount = 1,
      .pScissors = &scissor};
  VkPipelineRasterizationStateCreateInfo filled = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_RASTERIZATION_STATE_CREATE_INFO, .lineWidth = 1};
  VkPipelineMultisampleStateCreateInfo single = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_MULTISAMPLE_STATE_CREATE_INFO, .rasterizationSamples = VK_SAMPLE_COUNT_1_BIT};
  VkPipelineColorBlendAttachmentState channels = {.colorWriteMask = 0xf};
  VkPipelineColorBlendStateCreateInfo opaque = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_COLOR_BLEND_STATE_CREATE_INFO, .attachmentCount = 1, .pAttachments = &channels};
  VkPipelineRenderingCreateInfo target = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_RENDERING_CREATE_INFO, .colorAttachmentCount = 1, .pColorAttachmentFormats = &FORMAT};
  VkGraphicsPipelineCreateInfo asked = {
      .sType = VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO,
      .pNext = &target,
      .stageCount = 2,
      .pStages = stages,
      .pVertexInputState = &no_input,
      .pInputAssemblyState = &triangles,
      .pViewportState = &everywhere,
      .pRasterizationState = &filled,
      .pMultisampleState = &single,
      .pColorBlendState = &opaque,
      .layout = layout};
  VkPipeline pipeline;
  check(vkCreateGraphicsPipelines(device, VK_NULL_HANDLE, 1, &asked, NULL, &pipeline), "vkCreateGraphicsPipelines");
  return pipeline;
}

/* Hands the image, with what is in it, to the queue from whoever else uses the buffer, or back. */
static void hand_over(bool back) {
  VkImageMemoryBarrier2 barrier = {
      .sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER_2,
      .srcStageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
      .srcAccessMask = VK_ACCESS_2_MEMORY_WRITE_BIT,
      .dstStageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
      .dstAccessMask = VK_ACCESS_2_MEMORY_READ_BIT | VK_ACCESS_2_MEMORY_WRITE_BIT,
      .oldLayout = VK_IMAGE_LAYOUT_GENERAL,
      .newLayout = VK_IMAGE_LAYOUT_GENERAL,
      .srcQueueFamilyIndex = back ? 0 : VK_QUEUE_FAMILY_FOREIGN_EXT,
      .dstQueueFamilyIndex = back ? VK_QUEUE_FAMILY_FOREIGN_EXT : 0,
      .image = image,
      .subresourceRange = WHOLE};
  VkDependencyInfo dependency = {
      .sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO, .imageMemoryBarrierCount = 1, .pImageMemoryBarriers = &barrier};
  vkCmdPipelineBarrier2(commands, &dependency);
}

static void record(VkPipeline pipeline) {
  VkCommandPoolCreateInfo pooled = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  VkCommandPool pool;
  check(vkCreateCommandPool(device, &pooled, NULL, &pool), "vkCreateCommandPool");
  VkCommandBufferAllocateInfo asked = {
      .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, .commandPool = pool, .commandBufferCount = 1};
  check(vkAllocateCommandBuffers(device, &asked, &commands), "vkAllocateCommandBuffers");
  VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  check(vkBeginCommandBuffer(commands, &begin), "vkBeginCommandBuffer");
  hand_over(false);
  VkRenderingAttachmentInfo target = {
      .sType = VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO,
      .imageView = view,
      .imageLayout = VK_IMAGE_LAYOUT_GENERAL,
      .loadOp = VK_ATTACHMENT_LOAD_OP_LOAD,
      .storeOp = VK_ATTACHMENT_STORE_OP_STORE};
  VkRenderingInfo rendering = {
      .sType = VK_STRUCTURE_TYPE_RENDERING_INFO,
      .renderArea = {.extent = {SIDE, SIDE}},
      .layerCount = 1,
      .colorAttachmentCount = 1,
      .pColorAttachments = &target};
  vkCmdBeginRendering(commands, &rendering);
  vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
  vkCmdDraw(commands, 3, 1, 0, 0);
  vkCmdEndRendering(commands);
  hand_over(true);
  check(vkEndCommandBuffer(commands), "vkEndCommandBuffer");
}

void import_memory(int fd) {
  PFN_vkGetMemoryFdPropertiesKHR get_properties = (PFN_vkGetMemoryFdPropertiesKHR)function("vkGetMemoryFdPropertiesKHR");
  VkMemoryFdPropertiesKHR properties = {.sType = VK_STRUCTURE_TYPE_MEMORY_FD_PROPERTIES_KHR};
  check(get_properties(device, DMA_BUF, fd, &properties), "vkGetMemoryFdPropertiesKHR of the dma-buf");
  uint32_t types = needs.memoryTypeBits & properties.memoryTypeBits;
  if (types == 0) check(VK_ERROR_INVALID_EXTERNAL_HANDLE, "a type of memory for the image that is the dma-buf's too");
  VkMemoryDedicatedAllocateInfo dedicated = {.sType = VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO, .image = image};
  VkImportMemoryFdInfoKHR imported = {
      .sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR, .pNext = &dedicated, .handleType = DMA_BUF, .fd = fd};
  VkMemoryAllocateInfo asked = {
      .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
      .pNext = &imported,
      .allocationSize = needs.size,
      .memoryTypeIndex = (uint32_t)__builtin_ctz(types)};
  check(vkAllocateMemory(device, &asked, NULL, &memory), "vkAllocateMemory by import of the dma-buf");
  check(vkBindImageMemory(device, image, memory, 0), "vkBindImageMemory");
  VkImageViewCreateInfo viewed = {
      .sType = VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO,
      .image = image,
      .viewType = VK_IMAGE_VIEW_TYPE_2D,
      .format = FORMAT,
      .subresourceRange = WHOLE};
  check(vkCreateImageView(device, &viewed, NULL, &view), "vkCreateImageView");
  record(make_pipeline());
}

int draw(int fence) {
  /* The commands and the semaphores are used again. */
  check(vkQueueWaitIdle(queue), "vkQueueWaitIdle");
  PFN_vkImportSemaphoreFdKHR import = (PFN_vkImportSemaphoreFdKHR)function("vkImportSemaphoreFdKHR");
  VkImportSemaphoreFdInfoKHR imported = {
      .sType = VK_STRUCTURE_TYPE_IMPORT_SEMAPHORE_FD_INFO_KHR,
      .semaphore = before,
      .flags = VK_SEMAPHORE_IMPORT_TEMPORARY_BIT,
      .handleType = SYNC_FILE,
      .fd = fence};
  check(import(device, &imported), "vkImportSemaphoreFdKHR of the sync_file");
  VkPipelineStageFlags stages = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
  VkSubmitInfo asked = {
      .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
      .waitSemaphoreCount = 1,
      .pWaitSemaphores = &before,
      .pWaitDstStageMask = &stages,
      .commandBufferCount = 1,
      .pCommandBuffers = &commands,
      .signalSemaphoreCount = 1,
      .pSignalSemaphores = &after};
  check(vkQueueSubmit(queue, 1, &asked, VK_NULL_HANDLE), "vkQueueSubmit");
  PFN_vkGetSemaphoreFdKHR export = (PFN_vkGetSemaphoreFdKHR)function("vkGetSemaphoreFdKHR");
  VkSemaphoreGetFdInfoKHR exported = {
      .sType = VK_STRUCTURE_TYPE_SEMAPHORE_GET_FD_INFO_KHR, .semaphore = after, .handleType = SYNC_FILE};
  int drawn = -1;
  check(export(device, &exported, &drawn), "vkGetSemaphoreFdKHR as a sync_file");
  return drawn;
}

void close_picture(void) {
  check(vkDeviceWaitIdle(device), "vkDeviceWaitIdle");
  vkDestroyImageView(device, view, NULL);
  vkDestroyImage(device, image, NULL);
  vkFreeMemory(device, memory, NULL);
}
