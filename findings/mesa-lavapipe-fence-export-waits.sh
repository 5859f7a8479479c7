#!/usr/bin/env bash
# Mesa's lavapipe 26.2.6-1 (Debian sid's mesa-vulkan-drivers), on a machine without /dev/udmabuf: a semaphore's sync_file
# (vkGetSemaphoreFdKHR, VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_SYNC_FD_BIT) while the work that signals it is under way.
#
# Seen: vkQueueSubmit returns at once and works in a thread, as on hardware: the submission's fence is not signalled then. The
# export of the semaphore does not return before all of the work is done, and gives -1, which stands for "signalled already". The
# driver says that it can export (VK_EXTERNAL_SEMAPHORE_FEATURE_EXPORTABLE_BIT).
#
# A good engineer would guess: a sync_file is a promise, so it can be had while the work goes on, and exporting is as quick as on
# hardware; or a driver that has no fence to give says that it cannot export.
#
# It matters to whoever hands a heap's buffer on with its fence (a compositor's client with explicit sync, DMA_BUF_IOCTL_IMPORT_SYNC_FILE):
# with this driver, which tests on machines without a GPU run on, the thread that exports waits for the picture, nobody is ever
# seen waiting for a fence, and -1 has to be passed over instead of imported. So a test that passes here has not shown that
# anybody waits.
#
# Needs mmdebstrap as root.
set -euo pipefail
driver=26.2.6-1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" > sources.list
mmdebstrap --mode=root --variant=minbase --include="mesa-vulkan-drivers=$driver,libvulkan-dev,gcc,libc6-dev" \
  --aptopt='Acquire::Check-Valid-Until "false"' sid root sources.list > mmdebstrap.log 2>&1 || { tail mmdebstrap.log >&2 && exit 1; }

cat > root/export.c <<'C'
// Fills a buffer many times over, and asks for the sync_file of the semaphore that is signalled after that.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <vulkan/vulkan.h>

enum { SIZE = 64 << 20, TIMES = 100 };

static void check(VkResult result, const char *what) {
    if (result == VK_SUCCESS) return;
    printf("%s: %d\n", what, result);
    exit(1);
}

int main(void) {
    VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .apiVersion = VK_API_VERSION_1_3};
    VkInstanceCreateInfo instance_info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &application};
    VkInstance instance;
    check(vkCreateInstance(&instance_info, NULL, &instance), "vkCreateInstance");
    VkPhysicalDevice physical;
    uint32_t count = 1;
    check(vkEnumeratePhysicalDevices(instance, &count, &physical), "vkEnumeratePhysicalDevices");
    VkPhysicalDeviceDriverProperties driver = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &driver};
    vkGetPhysicalDeviceProperties2(physical, &properties);
    printf("driver: %s\n", driver.driverName);
    VkPhysicalDeviceExternalSemaphoreInfo asked = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_SEMAPHORE_INFO,
                                                   .handleType = VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_SYNC_FD_BIT};
    VkExternalSemaphoreProperties can = {.sType = VK_STRUCTURE_TYPE_EXTERNAL_SEMAPHORE_PROPERTIES};
    vkGetPhysicalDeviceExternalSemaphoreProperties(physical, &asked, &can);
    printf("sync_files: %s\n",
           can.externalSemaphoreFeatures & VK_EXTERNAL_SEMAPHORE_FEATURE_EXPORTABLE_BIT ? "can be exported" : "cannot be exported");

    const char *extensions[] = {VK_KHR_EXTERNAL_SEMAPHORE_FD_EXTENSION_NAME};
    float priority = 1;
    VkDeviceQueueCreateInfo queues = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
    VkDeviceCreateInfo device_info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, .queueCreateInfoCount = 1,
                                      .pQueueCreateInfos = &queues, .enabledExtensionCount = 1,
                                      .ppEnabledExtensionNames = extensions};
    VkDevice device;
    check(vkCreateDevice(physical, &device_info, NULL, &device), "vkCreateDevice");
    VkQueue queue;
    vkGetDeviceQueue(device, 0, 0, &queue);

    VkBufferCreateInfo buffer_info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = SIZE,
                                      .usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT};
    VkBuffer buffer;
    check(vkCreateBuffer(device, &buffer_info, NULL, &buffer), "vkCreateBuffer");
    VkMemoryRequirements needs;
    vkGetBufferMemoryRequirements(device, buffer, &needs);
    VkMemoryAllocateInfo memory_info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .allocationSize = needs.size};
    while (!(needs.memoryTypeBits >> memory_info.memoryTypeIndex & 1)) memory_info.memoryTypeIndex++;
    VkDeviceMemory memory;
    check(vkAllocateMemory(device, &memory_info, NULL, &memory), "vkAllocateMemory");
    check(vkBindBufferMemory(device, buffer, memory, 0), "vkBindBufferMemory");

    VkCommandPoolCreateInfo pool_info = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
    VkCommandPool pool;
    check(vkCreateCommandPool(device, &pool_info, NULL, &pool), "vkCreateCommandPool");
    VkCommandBufferAllocateInfo commands_info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, .commandPool = pool,
                                                 .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY, .commandBufferCount = 1};
    VkCommandBuffer commands;
    check(vkAllocateCommandBuffers(device, &commands_info, &commands), "vkAllocateCommandBuffers");
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    check(vkBeginCommandBuffer(commands, &begin), "vkBeginCommandBuffer");
    VkMemoryBarrier barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER, .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
                               .dstAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT};
    for (uint32_t i = 0; i < TIMES; i++) {
        vkCmdFillBuffer(commands, buffer, 0, SIZE, i);
        vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 1, &barrier, 0, NULL, 0,
                             NULL);
    }
    check(vkEndCommandBuffer(commands), "vkEndCommandBuffer");

    VkExportSemaphoreCreateInfo exported = {.sType = VK_STRUCTURE_TYPE_EXPORT_SEMAPHORE_CREATE_INFO,
                                            .handleTypes = VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_SYNC_FD_BIT};
    VkSemaphoreCreateInfo semaphore_info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &exported};
    VkSemaphore semaphore;
    check(vkCreateSemaphore(device, &semaphore_info, NULL, &semaphore), "vkCreateSemaphore");
    VkFenceCreateInfo fence_info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    VkFence fence;
    check(vkCreateFence(device, &fence_info, NULL, &fence), "vkCreateFence");
    VkSubmitInfo submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &commands,
                           .signalSemaphoreCount = 1, .pSignalSemaphores = &semaphore};
    check(vkQueueSubmit(queue, 1, &submit, fence), "vkQueueSubmit");
    printf("submitted: the work is %s\n", vkGetFenceStatus(device, fence) == VK_NOT_READY ? "under way" : "done");

    PFN_vkGetSemaphoreFdKHR get = (PFN_vkGetSemaphoreFdKHR)vkGetDeviceProcAddr(device, "vkGetSemaphoreFdKHR");
    VkSemaphoreGetFdInfoKHR wanted = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_GET_FD_INFO_KHR, .semaphore = semaphore,
                                      .handleType = VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_SYNC_FD_BIT};
    int file = -2;
    check(get(device, &wanted, &file), "vkGetSemaphoreFdKHR");
    printf("exported: the work is %s, and the descriptor %s\n", vkGetFenceStatus(device, fence) == VK_NOT_READY ? "under way" : "done",
           file == -1 ? "-1" : "a file");
    check(vkWaitForFences(device, 1, &fence, VK_TRUE, UINT64_MAX), "vkWaitForFences");
}
C
# In a /dev that has the plain nodes alone: with /dev/udmabuf the driver makes its fences otherwise.
unshare --mount bash -euo pipefail -c '
  mount -t tmpfs dev root/dev
  for node in null zero full random urandom; do touch root/dev/$node; mount --bind /dev/$node root/dev/$node; done
  mkdir root/dev/shm
  chroot root gcc -Wall -o /export /export.c -lvulkan
  VK_DRIVER_FILES=/$(cd root && echo usr/share/vulkan/icd.d/lvp_icd*.json) HOME=/tmp chroot root /export' > seen || true
cat > expected <<'TEXT'
driver: llvmpipe
sync_files: can be exported
submitted: the work is under way
exported: the work is done, and the descriptor -1
TEXT
cat seen
diff expected seen && echo "as recorded: mesa-vulkan-drivers $driver"
