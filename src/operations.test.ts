/** The operations address: what it says, and what it warns of without refusing to serve. */

import { afterEach, describe, expect, it } from 'vitest'
import { type OperationsPorts, startOperations } from './operations.ts'
import { findWarnings, type WarningFacts } from './operations-warnings.ts'

const closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

async function ask(path: string, ports: Partial<OperationsPorts>) {
  const operations = await startOperations(
    { host: '127.0.0.1', port: 0 },
    { checkReadiness: async () => [], metricsText: async () => ({ type: 'text/plain', text: '' }), ...ports },
  )
  closers.push(operations.close)
  const response = await fetch(`http://127.0.0.1:${operations.port}${path}`)
  return { status: response.status, body: (await response.json()) as unknown }
}

const ready = { name: 'store', isReady: true, detail: undefined }

describe('/readyz', () => {
  it('is ready with warnings, and says which', async () => {
    const { status, body } = await ask('/readyz', { checkReadiness: async () => [ready], findWarnings: () => ({ audit: '84 % …' }) })
    expect(status).toBe(200)
    expect(body).toEqual({ ready: true, checks: { store: 'ready' }, warnings: { audit: '84 % …' } })
  })

  it('has no warnings where there is nothing to warn of', async () => {
    expect((await ask('/readyz', { checkReadiness: async () => [ready] })).body).toMatchObject({ warnings: {} })
  })

  it('is ready although nobody knows whether something needs looking after, and says so', async () => {
    const { status, body } = await ask('/readyz', {
      checkReadiness: async () => [ready],
      findWarnings: () => Promise.reject(new Error('no disk')),
    })
    expect(status).toBe(200)
    expect(body).toMatchObject({ ready: true, warnings: { operations: expect.stringContaining('could not be found out') } })
  })

  it('is not ready for a check that fails, whatever the warnings', async () => {
    const away = { name: 'store', isReady: false, detail: 'the session store does not answer' }
    const { status, body } = await ask('/readyz', { checkReadiness: async () => [away] })
    expect(status).toBe(503)
    expect(body).toMatchObject({ ready: false, checks: { store: 'the session store does not answer' } })
  })
})

describe('a warning', () => {
  const day = 86_400_000
  const now = Date.UTC(2026, 5, 1)
  const usage = { bytes: 17 * 1024 ** 3, limitBytes: 20 * 1024 ** 3, diskFreeBytes: 100 * 1024 ** 3, share: 0.85 }
  const sink = { name: 'siem', lagLines: 0, lagBytes: 0, lagSeconds: 0, failures: 0, sent: 0, lost: 0, skipped: 0 }
  const nothing = { listener: [], clientAuthorities: [], revocationLists: [] }
  const warningsOf = (facts: Partial<WarningFacts>) =>
    findWarnings({ now, audit: undefined, sinks: [], expiries: nothing, policyProblems: undefined, ...facts })

  it('is none while all is well', () => {
    const good = { file: '/tls/cert.pem', notBefore: now - 60 * day, notAfter: now + 30 * day }
    const list = { file: '/tls/devices.crl', notBefore: now - day, notAfter: now + 6 * day }
    const all = { listener: [good], clientAuthorities: [good], revocationLists: [list] }
    expect(warningsOf({ audit: { ...usage, share: 0.79 }, sinks: [{ ...sink, lagSeconds: 299 }], expiries: all })).toEqual({})
  })

  it('comes with the room for the audit trail at 80 %', () => {
    expect(warningsOf({ audit: { ...usage, share: 0.8 } })).toEqual({ audit: expect.stringMatching(/^80 % .* 17 GiB of 20 GiB/) })
  })

  it('comes for policy files that are not in force', () => {
    expect(warningsOf({ policyProblems: 3 })).toEqual({ policy: expect.stringContaining('3 problems') })
  })

  it('comes for a sink that is five minutes behind, by its name', () => {
    expect(warningsOf({ sinks: [sink, { ...sink, name: 'vault', lagSeconds: 300 }] })).toEqual({ 'sink vault': '5 minutes behind' })
  })

  it('comes two weeks before a certificate runs out, and after it did', () => {
    const file = '/tls/cert.pem'
    const until = (notAfter: number) => warningsOf({ expiries: { ...nothing, listener: [{ file, notBefore: now - 60 * day, notAfter }] } })
    expect(until(now + 14 * day)).toEqual({})
    expect(until(now + 13 * day)).toEqual({ 'certificate /tls/cert.pem': 'runs out at 2026-06-14T00:00:00.000Z, in 13 days' })
    expect(until(now - 1)).toEqual({ 'certificate /tls/cert.pem': expect.stringMatching(/^ran out at/) })
  })

  it('comes for a key that nobody has rotated for more than 400 days, with the command that does', () => {
    const made = now - 401 * day
    expect(warningsOf({ keyDates: { sealing: made, assertion: now - 399 * day, audit: now } })).toEqual({
      'sealing key': 'made 401 days ago: `postern keys rotate --sealing`',
    })
  })

  it('comes later for a certificate that lives a week only, and for a list of today', () => {
    const week = (left: number) => [{ file: 'f', notBefore: now + left - 6 * day, notAfter: now + left }]
    expect(warningsOf({ expiries: { ...nothing, listener: week(3 * day), clientAuthorities: week(3 * day) } })).toEqual({})
    expect(warningsOf({ expiries: { ...nothing, clientAuthorities: week(1.9 * day) } })).toHaveProperty('client authority f')
    expect(warningsOf({ expiries: { ...nothing, revocationLists: week(1.1 * day) } })).toEqual({})
    expect(warningsOf({ expiries: { ...nothing, revocationLists: week(0.9 * day) } })).toHaveProperty('revocation list f')
  })
})
