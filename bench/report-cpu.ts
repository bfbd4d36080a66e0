/**
 * Loaded into every measured process (`--import`): tells its parent, when asked, what CPU time it has used.
 * The channel does not keep the process alive, and nothing else of it is touched.
 */

process.on('message', (message) => {
  if (message === 'cpu') process.send?.({ cpu: process.cpuUsage(), residentBytes: process.memoryUsage.rss() })
})
process.channel?.unref()
