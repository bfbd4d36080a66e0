/** What a name resolves to decides at the moment of connecting, whatever it resolved to when the policy was judged (DNS rebinding). */

import type { LookupAddress } from 'node:dns'
import { describe, expect, it } from 'vitest'
import { createUpstreamReach } from '../config/upstream-reach.ts'
import { addressForbidden, createNameLookup, type ForbiddenAddress } from './name-lookup.ts'

const families = (addresses: readonly string[]): readonly LookupAddress[] =>
  addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))

/** Looks a name up that has these addresses now, as a socket would. */
function look(answers: readonly string[], allow: readonly string[] | undefined, forbidden: readonly ForbiddenAddress[] = []) {
  const lookup = createNameLookup(forbidden, createUpstreamReach(allow).mayConnect, async () => families(answers))
  return new Promise<readonly string[] | string>((resolve) => {
    lookup.lookupFor(3000)('wiki.internal', { all: true }, (error, found) => {
      if (error !== null) resolve(error.code ?? error.message)
      else resolve((Array.isArray(found) ? found : []).map(({ address }) => address))
    })
  })
}

describe('a name of a managed policy', () => {
  it('that comes to mean this machine is not connected to', async () => {
    expect(await look(['10.0.0.5'], undefined)).toEqual(['10.0.0.5'])
    for (const address of [
      '127.0.0.1',
      '127.0.0.53',
      '::1',
      '::ffff:127.0.0.1',
      '169.254.169.254',
      'fe80::1',
      '::ffff:169.254.169.254',
      '::169.254.169.254',
      '::ffff:0:169.254.169.254',
      '64:ff9b::169.254.169.254',
      '2002:a9fe:a9fe::1',
      '0.0.0.0',
    ])
      expect(await look([address], undefined)).toBe(addressForbidden)
    expect(await look(['127.0.0.1'], ['wiki.internal'])).toBe(addressForbidden)
    expect(await look(['169.254.169.254'], ['wiki.internal', '169.254.0.0/16'])).toBe(addressForbidden)
  })

  it('that means this machine and others is connected to at the others', async () => {
    expect(await look(['127.0.0.1', '10.0.0.5', '::1', 'fd00::5'], undefined)).toEqual(['10.0.0.5', 'fd00::5'])
  })

  it('may mean this machine where that network is listed', async () => {
    expect(await look(['127.0.0.1', '127.0.0.2'], ['127.0.0.1:3000'])).toEqual(['127.0.0.1'])
    expect(await look(['127.0.0.1'], ['127.0.0.1:3001'])).toBe(addressForbidden)
  })

  it('that is not listed is connected to while its address is', async () => {
    expect(await look(['10.20.0.1', '10.21.0.1'], ['10.20.0.0/16'])).toEqual(['10.20.0.1'])
    expect(await look(['10.21.0.1'], ['10.20.0.0/16'])).toBe(addressForbidden)
    expect(await look(['10.21.0.1'], ['10.20.0.0/16', '*.internal'])).toEqual(['10.21.0.1'])
  })

  it('never means an address of ours, whatever is listed', async () => {
    expect(await look(['10.20.0.1'], ['10.20.0.0/16'], [{ host: '10.20.0.1', port: 3000 }])).toBe(addressForbidden)
  })
})

describe('an address of a managed policy', () => {
  it('is judged as well, since nothing is looked up', () => {
    const lookup = createNameLookup([], createUpstreamReach(['10.20.0.0/16']).mayConnect)
    expect(lookup.findProblem('10.20.0.1', 80)).toBeUndefined()
    expect(lookup.findProblem('10.21.0.1', 80)).toMatchObject({ code: addressForbidden })
    expect(lookup.findProblem('[::1]', 80)).toMatchObject({ code: addressForbidden })
    expect(lookup.findProblem('wiki.internal', 80)).toBeUndefined()
  })
})
