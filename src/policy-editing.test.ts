/** Editing large policies in a thread of its own: the same answers, and this thread stays free. */

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { describe, expect, it } from 'vitest'
import { createPolicyEditor } from './config/policy-editor.ts'
import { createPolicyEditing } from './policy-editing.ts'

const policyOf = (count: number) =>
  `apps:\n${Array.from({ length: count }, (_, index) => `  # app ${index}\n  - id: app-${index}\n    url: https://app-${index}.corp.example\n    upstream: http://app-${index}.internal\n    rules:\n      - { name: staff, allow: { groups: [staff] } }\n      - name: admins\n        require: [mfa]\n        paths: [/admin/**]\n`).join('')}`

describe('editing a policy', () => {
  it('says the same in its thread as here', async () => {
    const editing = createPolicyEditing({ largeFrom: 0 })
    const here = createPolicyEditor()
    try {
      const text = policyOf(3)
      expect(await editing.outline(text)).toEqual(await here.outline(text))
      const edits = [{ kind: 'remove_rule', of: 'app-1', index: 0 }] as const
      expect(await editing.edit(text, edits)).toEqual(await here.edit(text, edits))
    } finally {
      editing.close()
    }
  })

  it('leaves this thread to requests while a thousand apps are worked on', async () => {
    const editing = createPolicyEditing()
    const text = policyOf(1000)
    await editing.outline('apps: []')
    const delay = monitorEventLoopDelay({ resolution: 5 })
    delay.enable()
    try {
      const { apps } = await editing.outline(text)
      expect(apps).toHaveLength(1000)
      const edited = await editing.edit(text, [{ kind: 'set_app_field', app: 'app-999', field: ['name'], value: 'The last' }])
      expect(edited).toMatchObject({ outcome: 'changed' })
      delay.disable()
      // Far below what the work takes, with room for a busy machine.
      expect(delay.percentile(90) / 1e6).toBeLessThan(100)
    } finally {
      editing.close()
    }
  }, 60_000)

  it('tells who waits when it is closed', async () => {
    const editing = createPolicyEditing({ largeFrom: 0 })
    const answer = editing.outline(policyOf(2000))
    const told = expect(answer).rejects.toThrow('a policy could not be worked on')
    editing.close()
    await told
  })
})
