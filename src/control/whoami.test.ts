/** `whoami` of the access host states the device that the request came from. */

import { afterEach, expect, it } from 'vitest'
import type { DeviceReading } from '../attributes/device-facts.ts'
import { type AccessHost, startAccessHost } from './control-plane.fixture.ts'

const reading: DeviceReading = {
  device: {
    known: true,
    value: { id: 'laptop-7', identifiedBy: 'certificate', isKnown: false, serial: undefined, tags: [], attributes: {} },
  },
  isChanged: false,
}
let host: AccessHost
afterEach(() => host.close())

it.each([
  ['from memory', () => reading],
  ['from the inventory', () => undefined],
])('names it, how it was identified and whether it is registered (%s)', async (_how, recall) => {
  host = await startAccessHost({ devices: { recall, read: async () => reading } })
  const browser = host.browser()
  await browser.signIn()
  const { body } = await browser.visit('/.postern/whoami', { headers: { accept: 'application/json' } })
  expect(JSON.parse(body)).toMatchObject({ subject: 'alice', device: { id: 'laptop-7', identified_by: 'certificate', known: false } })
})
