/** Streams of the console: whose place is free again, and when they end because whoever reads them may no longer. */

import { once } from 'node:events'
import { type ClientRequest, createServer, get, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Request, Response } from 'express'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type ConsoleInvitationsParts, createConsoleInvitations, type InvitationRecord } from '../../administration/console-invites.ts'
import { createDurableRecords } from '../../administration/durable-records.ts'
import { closeLives, following, listenTo } from '../../live/live-over-store.fixture.ts'
import { createTestRing, openRedisPlace } from '../../session/session.fixture.ts'
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

it('of somebody who is no longer invited end in less than a second, also on another instance', async () => {
  const place = await openRedisPlace()
  try {
    const ring = createTestRing()
    const log = { error: () => undefined, warn: () => undefined }
    const invitationsOf = (parts: Partial<ConsoleInvitationsParts>) =>
      createConsoleInvitations({
        records: createDurableRecords<InvitationRecord>('console_invite', { store: place.store, keys: () => ring, log }),
        loadNow: () => place.store.loadNow(),
        now: Date.now,
        monotonicNow: () => performance.now(),
        recordFirst: async () => undefined,
        tell: () => place.store.publish({ kind: 'invitations', detail: '' }),
        ...parts,
      })
    const here = listenTo(place)
    const elsewhere = listenTo(place)
    await Promise.all([following(place, here), following(place, elsewhere)])
    const command = invitationsOf({})
    await command.invite({ email: 'ada@corp.example', role: 'admin', seconds: 3600 }, 'os:root@bastion')
    const streams: { readonly over: Promise<string>; readonly browser: ClientRequest }[] = []
    for (const { live } of [here, elsewhere]) {
      const invitations = invitationsOf({ live })
      const isStillPermitted = async () => (await invitations.find('ada@corp.example')).includes('admin')
      expect(await isStillPermitted()).toBe(true)
      const asked = once(server, 'request')
      const browser = get({ host: '127.0.0.1', port: (server.address() as AddressInfo).port })
      const [request, response] = (await asked) as [Request, ServerResponse]
      Object.assign(response, { status: () => response, set: () => response })
      const over = createEventStreams({ live, log }).open(request, response as Response, {
        sessionId: 'one',
        isStillPermitted,
        async *events(signal: AbortSignal) {
          yield { begun: true }
          await once(signal, 'abort')
        },
      })
      await once(browser, 'response')
      streams.push({ over, browser })
    }
    const takenBackAt = performance.now()
    await command.withdraw('ada@corp.example', undefined, 'os:root@bastion')
    for (const { over } of streams) expect(await over).toBe('over')
    expect(performance.now() - takenBackAt).toBeLessThan(1_000)
    for (const { browser } of streams) browser.destroy()
  } finally {
    await closeLives()
    await place.close()
  }
})
