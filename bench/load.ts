/**
 * The load: raw keep-alive connections that each send the next request when the last was answered. A process of its own, not measured.
 *
 * Told `{ port, head, connections, requests }` by its parent, it answers `{ seconds }`, or `{ problem }` at the first answer that is
 * not a 200 with a body: a benchmark of refusals would look splendid.
 */

import { connect } from 'node:net'

interface Task {
  readonly port: number
  /** The complete request. */
  readonly head: string
  readonly connections: number
  readonly requests: number
}

process.on('message', (task: Task) => {
  run(task).then(
    (seconds) => process.send?.({ seconds }),
    (error: unknown) => process.send?.({ problem: String(error) }),
  )
})
process.on('disconnect', () => process.exit(0))

async function run({ port, head, connections, requests }: Task): Promise<number> {
  const began = performance.now()
  let left = requests
  const request = Buffer.from(head, 'latin1')
  await Promise.all(Array.from({ length: connections }, () => drive()))
  return (performance.now() - began) / 1000

  function drive(): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true })
      let received = ''
      const next = () => {
        if (left === 0) {
          socket.end()
          resolve()
          return
        }
        left--
        socket.write(request)
      }
      socket.on('connect', next)
      socket.on('error', reject)
      socket.on('close', () => reject(new Error(`closed after ${JSON.stringify(received.slice(0, 300))}`)))
      socket.on('data', (data) => {
        received += data.toString('latin1')
        const end = received.indexOf('\r\n\r\n')
        if (end === -1) return
        const length = Number(/\r\ncontent-length: (\d+)/i.exec(received)?.[1])
        if (!received.startsWith('HTTP/1.1 200 ') || !(length > 0)) {
          reject(new Error(`answered ${JSON.stringify(received.slice(0, 300))}`))
          socket.destroy()
          return
        }
        if (received.length < end + 4 + length) return
        received = ''
        next()
      })
    })
  }
}
