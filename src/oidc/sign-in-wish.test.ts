/** How a wish is put to the provider: a table. */

import { describe, expect, it } from 'vitest'
import { wishParameters } from './sign-in-wish.ts'

const wish = (stepUp: Partial<NonNullable<Parameters<typeof wishParameters>[0]['stepUp']>>, prompt?: 'login') => ({
  prompt,
  loginHint: undefined,
  stepUp: { acrValues: [], maxAgeSeconds: undefined, ask: {}, ...stepUp },
})

describe('a wish for a particular sign-in', () => {
  it('asks for nothing where nothing is wanted', () => {
    expect(wishParameters({ prompt: undefined, loginHint: undefined }, true)).toEqual({})
    expect(wishParameters(wish({}), true)).toEqual({})
  })

  it.each([
    [3600, '3480'],
    [121, '1'],
    [120, '0'],
    [20, '0'],
    [0, '0'],
  ])('accepts %i s and asks the provider for %s s', (maxAgeSeconds, asked) => {
    expect(wishParameters(wish({ maxAgeSeconds }), true)).toEqual({ max_age: asked })
  })

  it('asks for the acr as an essential claim where the provider reads claims', () => {
    const parameters = wishParameters(wish({ acrValues: ['2', '3'] }), true)
    expect(Object.keys(parameters)).toEqual(['claims'])
    expect(JSON.parse(parameters['claims'] ?? '')).toEqual({ id_token: { acr: { essential: true, values: ['2', '3'] } } })
  })

  it('asks for the acr by acr_values where it does not', () => {
    expect(wishParameters(wish({ acrValues: ['2', '3'] }), false)).toEqual({ acr_values: '2 3' })
  })

  it('never asks for the acr in two ways, whatever a strength says', () => {
    const ask = { claims: '{}', acr_values: 'x' }
    expect(Object.keys(wishParameters(wish({ acrValues: ['2'], ask }), true))).toEqual(['claims'])
    expect(wishParameters(wish({ acrValues: ['2'], ask }), false)).toEqual({ acr_values: '2' })
    expect(wishParameters(wish({ ask }), true)).toEqual({})
  })

  it('adds what a strength asks for, and nothing that the protocol stands on', () => {
    const protocol = ['client_id', 'redirect_uri', 'response_type', 'response_mode', 'scope', 'state', 'nonce', 'code_challenge']
    const more = ['code_challenge_method', 'prompt', 'max_age', 'login_hint', 'id_token_hint', 'request', 'request_uri', 'State']
    const ask = Object.fromEntries([...protocol, ...more].map((name) => [name, 'evil']))
    expect(wishParameters(wish({ ask: { ...ask, kc_action: 'x' } }), true)).toEqual({ kc_action: 'x' })
  })

  it('asks for a password anew whatever age would do', () => {
    expect(wishParameters(wish({ maxAgeSeconds: 3600 }, 'login'), true)).toEqual({ prompt: 'login', max_age: '0' })
  })
})
