/**
 * Loaded in front of an instance by a test: says on SIGUSR2 what the process holds once garbage is collected, as one line of JSON.
 *
 * Timers are counted from their creation on, those that keep no process alive included, which nothing else tells.
 */

import { createHook } from 'node:async_hooks'

const timers = new Set<number>()
createHook({
  init: (id, type) => {
    if (type === 'Timeout') timers.add(id)
  },
  destroy: (id) => timers.delete(id),
}).enable()

process.on('SIGUSR2', () => {
  const { gc } = globalThis as { readonly gc?: () => void }
  gc?.()
  setImmediate(() => {
    gc?.()
    setImmediate(() => {
      const listeners = process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0)
      const { external, heapUsed } = process.memoryUsage()
      process.stdout.write(`${JSON.stringify({ report: { heapBytes: heapUsed + external, timers: timers.size, listeners } })}\n`)
    })
  })
})
