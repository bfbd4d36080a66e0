/** `audit.md` names each event and each field that a line can have, as the trail writes them, each setting, and what an export has. */

import { readFileSync } from 'node:fs'
import ts from 'typescript'
import { expect, it } from 'vitest'
import { ocsfVersion } from '../src/audit/ocsf.ts'
import { csvColumns } from '../src/audit/trail-csv.ts'
import { jsonSchemaOf } from '../src/config/json-schema.ts'

const page = readFileSync(new URL('./audit.md', import.meta.url), 'utf8')
const source = readFileSync(new URL('../src/audit/event.ts', import.meta.url), 'utf8')

/** Event names and field names of the union, read from its source: types leave nothing at run time. */
function readEvents(): { readonly events: readonly string[]; readonly fields: readonly string[] } {
  const tree = ts.createSourceFile('event.ts', source, ts.ScriptTarget.ES2023)
  const events: string[] = []
  const fields: string[] = []
  for (const statement of tree.statements) {
    if (!ts.isTypeAliasDeclaration(statement) || statement.name.text !== 'AuditEvent' || !ts.isUnionTypeNode(statement.type)) continue
    for (const member of statement.type.types.filter(ts.isTypeLiteralNode).flatMap((literal) => [...literal.members])) {
      const name = member.name?.getText(tree) ?? ''
      if (name !== 'event') fields.push(name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`))
      else events.push(...[...member.getText(tree).matchAll(/'([^']+)'/g)].map(([, event = '']) => event))
    }
  }
  return { events, fields }
}

/** `audit.keep` and the like. */
function readSettings(): readonly string[] {
  const { properties } = jsonSchemaOf('config') as { properties: { audit: { properties: Record<string, unknown> } } }
  return Object.keys(properties.audit.properties).map((key) => `audit.${key}`)
}

it('lists each event, field and setting, and none that there is not', () => {
  const { events, fields } = readEvents()
  const settings = readSettings()
  expect(events.length).toBeGreaterThan(10)
  expect(settings.length).toBeGreaterThan(5)
  for (const word of [...events, ...fields]) expect(page).toContain(`\`${word}\``)
  for (const setting of settings) expect(page).toContain(`\`${setting}`)
  const documented = [...page.matchAll(/`((?!metadata\.|traffic\.)[a-z_]+\.[a-z_]+)`/g)].map(([, word = '']) => word)
  expect(new Set(documented)).toEqual(new Set([...events, ...settings.filter((setting) => documented.includes(setting))]))
})

it('describes what an export has', () => {
  expect(page).toContain(`version ${ocsfVersion}`)
  const [, listed = ''] = /\*\*`csv`\*\*.*?with the columns([\s\S]*?)what the event has besides/.exec(page) ?? []
  expect([...listed.matchAll(/`([a-z_]+)`/g)].map(([, column]) => column)).toEqual(csvColumns)
})
