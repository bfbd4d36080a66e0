/** References of people: one spelling, nothing else is one. */

import { describe, expect, it } from 'vitest'
import { parseRef, refOf } from './person-ref.ts'

describe('the reference of a person', () => {
  it.each([
    { issuer: 'https://op.corp.example', sub: 'bob' },
    { issuer: 'https://op.corp.example/realms/a', sub: 'bob@corp.example/../admin?x=<b>' },
    { issuer: 'https://op.corp.example', sub: 'Zoë 日本' },
  ])('of $sub is read back as it was', (subject) => {
    const ref = refOf(subject)
    expect(ref).toMatch(/^[A-Za-z0-9_-]+$/)
    expect(parseRef(ref)).toEqual(subject)
  })

  const encode = (text: string | Buffer) => Buffer.from(text).toString('base64url')
  it.each([
    ['nothing', ''],
    ['another alphabet', Buffer.from('https://o\nbob?>').toString('base64')],
    ['padding', `${encode('https://op.example\nbo')}==`],
    ['no line feed', encode('https://op.example')],
    ['no issuer', encode('\nbob')],
    ['no sub', encode('https://op.example\n')],
    ['a second line feed', encode('https://op.example\nbob\nadmin')],
    ['bytes that are no text', encode(Buffer.concat([Buffer.from('https://op.example\n'), Buffer.from([0xff, 0xfe])]))],
    ['loose bits at its end', 'aHR0cHM6Ly9vCmJvYh'],
    ['too many characters', encode(`https://op.example\n${'x'.repeat(2_000)}`)],
  ])('is not taken with %s', (_, text) => {
    expect(parseRef(text)).toBeUndefined()
  })
})
