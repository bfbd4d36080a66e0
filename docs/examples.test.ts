/** The example apps load without a problem, and their own tests pass. */

import { join } from 'node:path'
import { expect, it } from 'vitest'
import { readBareEnvironment } from '../src/attributes/environment-facts.ts'
import { runPolicyTests } from '../src/commands/policy-tests.ts'
import { loadConfiguration } from '../src/config/load-configuration.ts'
import { loadPolicy } from '../src/config/load-policy.ts'
import { findPolicyTests, loadPolicyTests } from '../src/config/load-policy-tests.ts'
import { compileRoutes } from '../src/enforcement/route-table.ts'
import { compilePolicy } from '../src/policy/compile.ts'

const folder = join(import.meta.dirname, '../config/examples')

async function load() {
  const { parts } = await loadConfiguration(join(folder, 'postern.yaml'), { OIDC_CLIENT_SECRET: 'kJ83hd72hd9aKKd8s7dh' })
  const { problems, value, warnings } = await loadPolicy(join(folder, 'policy.yaml'), { configuration: parts })
  expect(problems).toEqual([])
  expect(warnings).toEqual([])
  if (value === undefined || parts.provider === undefined) throw new Error('the examples do not load')
  return { document: value, strengths: parts.provider.strengths }
}

it('loads without a problem or a warning', load)

it('passes its own tests, and there is one for each app and each rule', async () => {
  const { document, strengths } = await load()
  const file = await findPolicyTests(join(folder, 'policy.yaml'))
  const { problems, value: tests } = await loadPolicyTests(file ?? '', { strengths, services: document.services, at: 0 })
  expect(problems).toEqual([])
  if (tests === undefined) throw new Error('the tests do not load')
  const policy = compilePolicy(document)
  const results = runPolicyTests({ routes: compileRoutes(document, policy) }, tests, readBareEnvironment)
  expect(results.filter(({ isPassed }) => !isPassed).map(({ got, test }) => `${test.name}: ${got}`)).toEqual([])
  for (const app of document.apps) expect(tests.filter(({ url }) => url.origin === app.address.origin).length).toBeGreaterThanOrEqual(4)
})
