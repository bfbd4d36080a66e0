/** Where the client may connect to, when that is limited: asked for addresses as they are written and as names resolve. */

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createProviderFetch, type MayFetch } from './provider-fetch.ts'

describe('a client that may not connect everywhere', () => {
  let received = 0
  const server = createServer((_request, response) => {
    received += 1
    response.end('{}')
  })
  let port = 0
  beforeAll(async () => {
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
    port = (server.address() as AddressInfo).port
  })
  afterAll(() => new Promise((resolve) => void server.close(resolve)))

  const get = async (url: string, mayFetch: MayFetch) => {
    const client = createProviderFetch(4, mayFetch)
    try {
      return await (await client.fetch(url, { method: 'GET', headers: {} })).text()
    } finally {
      client.close()
    }
  }

  it('asks before each connection, and does not connect where it must not', async () => {
    const asked: unknown[] = []
    const never: MayFetch = (...question) => {
      asked.push(question)
      return false
    }
    for (const host of ['127.0.0.1', '[::ffff:127.0.0.1]', 'keys.localhost'])
      await expect(get(`http://${host}:${port}/jwks`, never)).rejects.toMatchObject({ code: 'provider_unavailable' })
    expect(received).toBe(0)
    expect(asked).toContainEqual(['127.0.0.1', port, '127.0.0.1'])
    expect(asked).toContainEqual(['::ffff:7f00:1', port, '::ffff:7f00:1'])
    expect(asked).toContainEqual(['keys.localhost', port, '127.0.0.1'])
  })

  it('connects to those of several addresses that it may', async () => {
    expect(await get(`http://keys.localhost:${port}/jwks`, (_host, _port, address) => address === '127.0.0.1')).toBe('{}')
    expect(received).toBe(1)
  })
})
