/** The apps of a person: a thousand of them are decided in turns, so that nobody else's request waits for all of them. */

import { expect, it } from 'vitest'
import { appWith, compileApp, facts, person, rule } from '../policy/policy.fixture.ts'
import { findKnownApps } from './portal-apps.ts'

it('are found one and all, in their order, while other work goes on in between', async () => {
  const { request: _, ...given } = facts(person())
  const policy = compileApp([rule('allow', { kind: 'groups', groups: ['staff'] })])
  const apps = Array.from({ length: 1_000 }, (_app, index) => ({ app: { ...appWith([]), id: `app-${index}` }, policy }))
  let turns = 0
  let isOver = false
  const takeTurns = () => {
    turns += 1
    if (!isOver) setImmediate(takeTurns)
  }
  setImmediate(takeTurns)
  const asked: string[] = []
  const known = await findKnownApps(
    {
      apps: () => apps,
      live: {
        findLock: ({ appId }) => {
          asked.push(appId)
          return undefined
        },
      },
    },
    { ...given, reading: { device: given.device, isChanged: false } },
  )
  isOver = true
  expect(known.map(({ app, decision }) => [app.id, decision.effect])).toEqual(apps.map(({ app }) => [app.id, 'allow']))
  expect(asked).toHaveLength(apps.length)
  expect(turns).toBeGreaterThanOrEqual(9)
})
