/** Where a bound session may be used on the access host. */

import type { IncomingMessage } from 'node:http'
import { describe, expect, test } from 'vitest'
import type { Session } from '../session/session.ts'
import type { CertificateReader, CertificateReading } from './client-certificate.ts'
import { createDeviceBinding, noBinding } from './device-binding.ts'
import { unidentified } from './device-facts.ts'

const request = {} as IncomingMessage
const bound = { device: { certificate: 'a', names: [] } } as unknown as Session
const free = { device: undefined } as Session

function bindingWith({ isVisible = true, isChanged = false, reading = { state: 'none' } as CertificateReading } = {}) {
  const certificates: CertificateReader = { isVisible: () => isVisible, recall: () => undefined, read: async () => reading }
  const seen = { ...unidentified, isChanged }
  return createDeviceBinding(certificates, { recall: () => undefined, read: async () => seen })
}

describe('a bound session', () => {
  test.each([
    ['on its device', {}, false],
    ['on another', { isChanged: true }, true],
    ['over a connection that could show no certificate', { isVisible: false }, true],
  ])('%s is judged so', async (_where, how, isElsewhere) => {
    expect(await bindingWith(how).isElsewhere(request, bound)).toBe(isElsewhere)
    expect(await bindingWith(how).isElsewhere(request, free)).toBe(false)
  })

  test('is elsewhere where certificates are no longer looked at', async () => {
    expect(await noBinding.isElsewhere(request, bound)).toBe(true)
    expect(await noBinding.isElsewhere(request, free)).toBe(false)
    expect(await noBinding.deviceOf(request)).toBeUndefined()
  })
})

test('only a certificate that is believed binds', async () => {
  const certificate = { fingerprint: 'f', names: ['laptop-7'], notAfter: 1 }
  expect(await bindingWith({ reading: { state: 'verified', certificate } }).deviceOf(request)).toEqual({
    certificate: 'f',
    names: ['laptop-7'],
  })
  for (const reading of [{ state: 'none' }, { state: 'refused', why: 'revoked' }] as const)
    expect(await bindingWith({ reading }).deviceOf(request)).toBeUndefined()
})
