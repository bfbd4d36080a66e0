/** Names of sessions are typed and pasted by administrators. */

import { expect, it } from 'vitest'
import { createSessionId } from './secret.ts'

it('never begins the name of a session with a hyphen, which a command line would read as an option', () => {
  const ids = Array.from({ length: 5000 }, createSessionId)
  expect(ids.filter((id) => !/^[A-Za-z0-9_][A-Za-z0-9_-]{21}$/.test(id))).toEqual([])
  expect(new Set(ids).size).toBe(ids.length)
})
