/**
 * The two checks before every operation of a page: the permission, then the form of the input; and what is said of what is wrong.
 */

import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type Asker, permissionsByRole } from '../../administration/asker.ts'
import { PosternError } from '../../errors.ts'
import { createCarryOut } from './carry-out.ts'
import { defineOperation, done } from './operation.ts'

const carryOut = createCarryOut()
const asker = (role: 'admin' | 'auditor'): Asker => ({
  actor: `person:${role}`,
  label: role,
  subject: { issuer: 'https://op.example', sub: role },
  roles: [role],
  permissions: permissionsByRole[role],
})

function lockFor(seen: unknown[], fails?: Error) {
  return defineOperation({
    id: 'sample.lock',
    summary: 'Locks',
    description: 'Locks.',
    method: 'POST',
    path: '/sample',
    permission: 'locks:write',
    input: z.strictObject({
      who: z.string().trim().min(1, 'say whom'),
      hours: z.coerce.number('write a number').int().max(24).default(1),
      tags: z.array(z.string().regex(/^[a-z]+$/, 'use small letters')).default([]),
    }),
    output: z.strictObject({ locked: z.string() }),
    problems: [],
    async carryOut(input, by) {
      seen.push([input, by.actor])
      if (fails !== undefined) throw fails
      return done({ locked: input.who })
    },
  })
}

describe('carrying out', () => {
  it('hands over what the schema made of the input, and gives back what was done', async () => {
    const seen: unknown[] = []
    expect(await carryOut(lockFor(seen), { who: ' ada ', hours: '3' }, asker('admin'))).toEqual({
      outcome: 'done',
      value: { locked: 'ada' },
    })
    expect(seen).toEqual([[{ who: 'ada', hours: 3, tags: [] }, 'person:admin']])
  })

  it('stops at the permission first, whatever the input is', async () => {
    const seen: unknown[] = []
    for (const input of [{ who: 'ada' }, { nonsense: 1 }, undefined]) {
      expect(await carryOut(lockFor(seen), input, asker('auditor'))).toMatchObject({
        outcome: 'refused',
        problem: 'not_permitted',
        detail: { permission: 'locks:write' },
      })
    }
    expect(seen).toEqual([])
  })

  it('says at each field what is wrong with it, keys that nobody knows among them', async () => {
    const seen: unknown[] = []
    const refusal = await carryOut(lockFor(seen), { who: '', hours: 'x', tags: ['a', 'B'], why: 1, __proto__: 2 }, asker('admin'))
    expect(refusal).toMatchObject({
      outcome: 'refused',
      problem: 'malformed',
      detail: { fields: { who: 'Say whom.', hours: 'Write a number.', 'tags.1': 'Use small letters.', why: expect.any(String) } },
    })
    expect(seen).toEqual([])
  })

  it('says something of what is no object at all', async () => {
    for (const input of [undefined, null, 'who=ada', []]) {
      expect(await carryOut(lockFor([]), input, asker('admin'))).toMatchObject({ outcome: 'refused', problem: 'malformed' })
    }
  })

  it('lets operational failures pass', async () => {
    const failure = new PosternError('audit_unavailable', 'no disk')
    await expect(carryOut(lockFor([], failure), { who: 'ada' }, asker('admin'))).rejects.toBe(failure)
  })
})
