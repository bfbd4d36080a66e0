/** `audit.md` names each event and each field that a line can have, as the trail writes them. */

import { readFileSync } from 'node:fs'
import ts from 'typescript'
import { expect, it } from 'vitest'

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

it('lists each event and each field, and no event that there is not', () => {
  const { events, fields } = readEvents()
  expect(events.length).toBeGreaterThan(10)
  for (const word of [...events, ...fields]) expect(page).toContain(`\`${word}\``)
  const documented = [...page.matchAll(/`([a-z_]+\.[a-z_]+)`/g)]
    .map(([, word = '']) => word)
    .filter((word) => !word.startsWith('audit.query'))
  expect(new Set(documented)).toEqual(new Set(events))
})
