/** Streams of the console: whose place is free again. */

import { once } from 'node:events'
import { createServer, get, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Request, Response } from 'express'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { createEventStreams } from './console-events.ts'

let server: Server
beforeEach(async () => {
  server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
})
afterEach(() => void server.close())

it('whoever left while it was decided whether they may takes no place', async () => {
  const log = { error: () => undefined, warn: () => undefined }
  const streams = createEventStreams({ live: { listen: () => () => undefined }, log })
  for (let visit = 0; visit < 9; visit++) {
    const asked = once(server, 'request')
    const browser = get({ host: '127.0.0.1', port: (server.address() as AddressInfo).port }).on('error', () => undefined)
    const [request, response] = (await asked) as [Request, ServerResponse]
    const left = once(response, 'close')
    browser.destroy()
    await left
    const stream = {
      sessionId: 'one',
      isStillPermitted: async () => true,
      async *events(signal: AbortSignal) {
        await once(signal, 'abort')
        yield {}
      },
    }
    expect(await streams.open(request, response as Response, stream)).toBe('over')
  }
})
