/** What of a token becomes claims of a person, and what does not. */

import { expect, test } from 'vitest'
import { mergeClaims } from './claims.ts'

const identity = { issuer: 'https://id.corp.example', sub: 'alice' }

test('what ties a token to its message is no claim of a person: a nonce is a secret, and claims are printed and recorded', () => {
  const idToken = { ...{ nonce: 'secret', at_hash: 'a', c_hash: 'c', s_hash: 's' }, sid: 'one', groups: ['staff'] }
  expect({ ...mergeClaims(idToken, { nonce: 'other', name: 'Alice' }, identity) }).toEqual({
    iss: identity.issuer,
    sub: 'alice',
    sid: 'one',
    groups: ['staff'],
    name: 'Alice',
  })
})
