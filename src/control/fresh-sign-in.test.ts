/** Which of two sign-ins a continued session speaks of: a table. */

import { describe, expect, it } from 'vitest'
import type { SignIn } from '../session/session.ts'
import { latestSignIn } from './fresh-sign-in.ts'

const signIn = (authTime: number | undefined, acr?: string, amr: readonly string[] = []): SignIn => ({
  at: authTime ?? 5_000,
  authTime,
  acr,
  amr,
})

describe('the sign-in of a continued session', () => {
  const strong = signIn(1_000, '2', ['pwd', 'otp'])
  it.each<[string, SignIn, SignIn, boolean, SignIn]>([
    ['is the later authentication, also where it is weaker', strong, signIn(2_000, '1', ['pwd']), false, signIn(2_000, '1', ['pwd'])],
    ['is the later one whole: what it leaves out is not taken from the earlier', strong, signIn(2_000), false, signIn(2_000)],
    ['keeps its strength in a silent round of the same authentication', strong, signIn(1_000, '0', ['sso']), false, strong],
    ['keeps its strength and time where a silent round states nothing', strong, signIn(undefined), false, strong],
    ['keeps its strength and time where a silent round states a strength without a time', strong, signIn(undefined, '1'), false, strong],
    ['is not moved back by an older authentication', strong, signIn(500, '3'), false, strong],
    [
      'takes what the same authentication had not said before',
      signIn(1_000),
      signIn(1_000, '2', ['otp']),
      false,
      signIn(1_000, '2', ['otp']),
    ],
    ['takes a time where it had none', signIn(undefined, '2'), signIn(700, '1'), false, signIn(700, '1')],
    ['takes a strength that was asked for, with the same time', strong, signIn(1_000, '3', ['hwk']), true, signIn(1_000, '3', ['hwk'])],
    [
      'takes a strength that was asked for, then knows no time, and is no younger',
      strong,
      signIn(undefined, '3'),
      true,
      { ...signIn(undefined, '3'), at: 1_000 },
    ],
  ])('%s', (...[, before, after, isProof, expected]) => {
    expect(latestSignIn(before, after, { isFresh: false, isProof })).toEqual(expected)
  })

  it('stays as old as it was in a silent round of a provider that states no time', () => {
    const [before, after] = [
      { ...signIn(undefined, '1'), at: 100 },
      { ...signIn(undefined), at: 900 },
    ]
    expect(latestSignIn(before, after, { isFresh: false, isProof: false })).toEqual(before)
    expect(latestSignIn(before, after, { isFresh: true, isProof: false })).toEqual(after)
  })
})
