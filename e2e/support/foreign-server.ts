/**
 * A server that nobody should ever be led to. It writes down every request with its body, so that a test can show that no code,
 * secret or token reached it.
 */

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface ForeignServer {
  readonly origin: string
  readonly received: readonly string[]
  close(): Promise<void>
}

/** Starts one; it answers everything with an empty JSON object. */
export async function startForeignServer(): Promise<ForeignServer> {
  const received: string[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('error', () => undefined)
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      received.push(`${request.method} ${request.url}\n${JSON.stringify(request.headers)}\n${Buffer.concat(chunks).toString('latin1')}`)
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    origin: `http://127.0.0.1:${port}`,
    received,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}
