/**
 * What no rule of an app asks for decides nothing there. The trail may therefore record more than a decision needed, such as the country
 * and the device of everybody, and what is recorded still leads to the same decision.
 */

import fc from 'fast-check'
import { expect, it } from 'vitest'
import { compilePolicy } from './compile.ts'
import { decide } from './decide.ts'
import type { FactGroup, Facts } from './facts.ts'
import { environmentWith } from './policy.fixture.ts'
import { anyFacts, documents } from './policy-arbitraries.fixture.ts'

const notGathered = { known: false, why: 'not_gathered' } as const
const { client: noClient } = environmentWith()

/** The facts as they were gathered for these needs alone. A blocked device is always among them. */
function onlyNeeded(given: Facts, needs: ReadonlySet<FactGroup>): Facts {
  const { device, environment } = given
  const isBlocked = device.known && device.value.isBlocked === true
  return {
    ...given,
    device: needs.has('device') || isBlocked || !device.known ? device : notGathered,
    environment: {
      ...environment,
      country: needs.has('country') ? environment.country : notGathered,
      asn: needs.has('asn') ? environment.asn : notGathered,
      client: needs.has('client') ? environment.client : noClient,
    },
  }
}

it('facts that no rule asks for change no decision', () => {
  let withMore = 0
  fc.assert(
    fc.property(documents, anyFacts, (document, given) => {
      for (const app of compilePolicy(document).apps.values()) {
        const less = onlyNeeded(given, app.needs)
        if (JSON.stringify(less) !== JSON.stringify(given)) withMore += 1
        expect(decide(app, given)).toEqual(decide(app, less))
      }
    }),
    { numRuns: process.env['POSTERN_TEST_LONG'] === '1' ? 10_000 : 1000 },
  )
  expect(withMore).toBeGreaterThan(100)
}, 120_000)
