/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * net_loop_c: each lport receives what it sent. A driver in C, as small as a complete one can be.
 *
 *   cc -std=c11 -O2 -fPIC -shared -Wall -Wextra -I pmd-plugin/include -o libpmd_loop.so pmd-plugin/examples/loop.c
 *   lport drivers -d ./libpmd_loop.so
 *
 * A ring for each queue, with one sender and one receiver, perhaps on two threads. By default the mbufs that were sent are
 * the ones that are received. With `copy=yes` the receiver takes fresh ones from the lport's pool, if it has one, and frees
 * the others: what a driver of a real device does.
 */
#include <pmd.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PACKET 9216

/* Counters are written by one thread and read by any. */
typedef _Atomic uint64_t counter;

static void add(counter *counter, uint64_t n)
{
    uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, old + n, memory_order_relaxed);
}

static uint64_t get(counter *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

struct queue {
    struct pmd_mbuf **ring;
    uint64_t size;
    struct pmd_pool *copy_to; /* NULL: mbufs are passed on */
    uint16_t lport;
    /* Positions only grow; the ring's index is their remainder. */
    _Alignas(64) _Atomic uint64_t received; /* written by the receiver, as are: */
    counter ipackets, ibytes, nombuf;
    _Alignas(64) _Atomic uint64_t sent; /* written by the sender, as are: */
    counter opackets, obytes, oerrors;
};

struct device {
    uint32_t count;
    struct queue *queues;
};

static const struct pmd_host *host;

static void close_device(void *opened)
{
    struct device *device = opened;
    for (uint32_t i = 0; i < device->count; i++) {
        struct queue *queue = &device->queues[i];
        for (uint64_t at = get(&queue->received); queue->ring && at != get(&queue->sent); at++)
            host->free_bulk(host, &queue->ring[at % queue->size], 1);
        free(queue->ring);
    }
    free(device->queues);
    free(device);
}

static void *open_device(const struct pmd_request *request, char *error)
{
    uint64_t copy = pmd_number(&request->options, "copy", 0);
    struct device *device = calloc(1, sizeof *device);
    if (device)
        device->queues = aligned_alloc(64, request->queue_count * sizeof *device->queues);
    if (!device || !device->queues) {
        free(device);
        snprintf(error, PMD_TEXT_MAX, "no memory for %u queues", request->queue_count);
        return NULL;
    }
    memset(device->queues, 0, request->queue_count * sizeof *device->queues);
    device->count = request->queue_count;
    for (uint32_t i = 0; i < device->count; i++) {
        struct pmd_queue *wanted = &request->queues[i];
        struct queue *queue = &device->queues[i];
        queue->size = pmd_number(&request->options, "size", 1024);
        queue->ring = calloc(queue->size, sizeof *queue->ring);
        queue->lport = wanted->lport;
        queue->copy_to = copy ? wanted->pool : NULL;
        if (!queue->ring) {
            snprintf(error, PMD_TEXT_MAX, "no memory for a ring of %llu packets", (unsigned long long)queue->size);
            close_device(device);
            return NULL;
        }
        wanted->rx = wanted->tx = queue;
    }
    return device;
}

/* A copy of a packet in mbufs of a pool, or NULL when it has too few. */
static struct pmd_mbuf *copy_of(const struct pmd_mbuf *packet, struct pmd_pool *pool)
{
    struct pmd_mbuf *copy = NULL;
    for (const struct pmd_mbuf *segment = packet; segment; segment = segment->next) {
        for (uint32_t done = 0; done < segment->len || !copy;) {
            struct pmd_mbuf *part;
            uint32_t len = segment->len - done;
            if (host->alloc_bulk(pool, &part, 1) == 0) {
                if (copy)
                    host->free_bulk(host, &copy, 1);
                return NULL;
            }
            if (len > pmd_mbuf_space(part))
                len = pmd_mbuf_space(part);
            memcpy(pmd_mbuf_data(part), pmd_mbuf_data(segment) + done, len);
            pmd_mbuf_set_received(part, len, 0);
            done += len;
            if (!copy)
                copy = part;
            else
                pmd_mbuf_chain(copy, part);
        }
    }
    return copy;
}

static uint16_t rx_burst(void *rx, struct pmd_mbuf **mbufs, uint16_t n)
{
    struct queue *queue = rx;
    uint64_t at = atomic_load_explicit(&queue->received, memory_order_relaxed);
    uint64_t waiting = atomic_load_explicit(&queue->sent, memory_order_acquire) - at;
    uint64_t bytes = 0;
    uint16_t done;
    if (n > waiting)
        n = (uint16_t)waiting;
    for (done = 0; done < n; done++, at++) {
        struct pmd_mbuf *packet = queue->ring[at % queue->size];
        if (queue->copy_to) {
            struct pmd_mbuf *copy = copy_of(packet, queue->copy_to);
            if (!copy) {
                add(&queue->nombuf, 1);
                break;
            }
            host->free_bulk(host, &packet, 1);
            packet = copy;
        }
        packet->port = queue->lport;
        bytes += packet->packet_len;
        mbufs[done] = packet;
    }
    atomic_store_explicit(&queue->received, at, memory_order_release);
    add(&queue->ipackets, done);
    add(&queue->ibytes, bytes);
    return done;
}

static uint16_t tx_burst(void *tx, struct pmd_mbuf **mbufs, uint16_t n, uint16_t *dropped)
{
    struct queue *queue = tx;
    uint64_t at = atomic_load_explicit(&queue->sent, memory_order_relaxed);
    uint64_t room = queue->size - (at - atomic_load_explicit(&queue->received, memory_order_acquire));
    uint64_t bytes = 0;
    uint16_t taken;
    for (taken = 0; taken < n; taken++) {
        struct pmd_mbuf *packet = mbufs[taken];
        if (packet->packet_len == 0 || packet->packet_len > MAX_PACKET) {
            host->free_bulk(host, &packet, 1);
            ++*dropped;
            continue;
        }
        if (room-- == 0)
            break;
        bytes += packet->packet_len;
        queue->ring[at++ % queue->size] = packet;
    }
    atomic_store_explicit(&queue->sent, at, memory_order_release);
    add(&queue->opackets, taken - *dropped);
    add(&queue->obytes, bytes);
    add(&queue->oerrors, *dropped);
    return taken;
}

static int link_state(void *device, uint32_t queue, char *why)
{
    (void)device, (void)queue, (void)why;
    return 1;
}

static void info(void *device, uint32_t queue, struct pmd_info *info)
{
    (void)device, (void)queue;
    info->max_packet = MAX_PACKET;
    info->speed_mbps = 10000;
}

static void stats(void *opened, uint32_t position, struct pmd_stats *stats)
{
    struct queue *queue = &((struct device *)opened)->queues[position];
    stats->ipackets = get(&queue->ipackets);
    stats->ibytes = get(&queue->ibytes);
    stats->rx_nombuf = get(&queue->nombuf);
    stats->opackets = get(&queue->opackets);
    stats->obytes = get(&queue->obytes);
    stats->oerrors = get(&queue->oerrors);
}

static uint32_t xstats(void *opened, uint32_t position, struct pmd_xstat *xstats, uint32_t n)
{
    struct queue *queue = &((struct device *)opened)->queues[position];
    if (n == 0)
        return 0;
    xstats[0].name = "rx_waiting";
    xstats[0].value = get(&queue->sent) - get(&queue->received);
    return 1;
}

static void rx_renumber(void *rx, uint16_t lport)
{
    ((struct queue *)rx)->lport = lport;
}

/* No device makes a file descriptor readable here: who sleeps, sleeps for a bounded time. */
static int rx_arm(void *rx)
{
    struct queue *queue = rx;
    return atomic_load_explicit(&queue->sent, memory_order_acquire) == get(&queue->received);
}

static const struct pmd_option options[] = {
    { .name = "size", .kind = PMD_OPTION_INT, .min = 1, .max = 65536, .default_text = "1024",
      .help = "packets the ring can hold" },
    { .name = "copy", .kind = PMD_OPTION_BOOL, .default_text = "no",
      .help = "whether received packets are copies in mbufs of the lport's umem, if it has one" },
};

static const struct pmd_driver driver = {
    .name = "net_loop_c",
    .summary = "each lport receives what it sent (the example in C)",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .open = open_device,
    .close = close_device,
    .rx_burst = rx_burst,
    .tx_burst = tx_burst,
    .link = link_state,
    .info = info,
    .stats = stats,
    .xstats = xstats,
    .rx_renumber = rx_renumber,
    .rx_arm = rx_arm,
};

static const struct pmd_driver *init(const struct pmd_host *program)
{
    host = program;
    return &driver;
}

PMD_EXPORT(init);
