/** `console.md` tells each role what it may, neither more nor less, and leads to pages that there are. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { permissions, permissionsByRole, roles } from '../src/administration/asker.ts'
import { longestExportDays } from '../src/control/operations/trail-export.ts'

const page = readFileSync(join(import.meta.dirname, 'console.md'), 'utf8')
const [, table = ''] = /\n## Roles\n([\s\S]*?)\n## /.exec(page) ?? []
const rows = table
  .split('\n')
  .filter((line) => line.startsWith('| ') && line.includes('`'))
  .map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )

describe('console.md', () => {
  test('has each permission once, and each role with exactly what it may', () => {
    const told = rows.flatMap(([, named = '', ...marks]) =>
      [...named.matchAll(/`([a-z]+:[a-z]+)`/g)].map(([, permission]) => ({
        permission,
        roles: roles.filter((_, index) => marks[index] === 'yes'),
      })),
    )
    const held = permissions.map((permission) => ({ permission, roles: roles.filter((role) => permissionsByRole[role].has(permission)) }))
    const byName = (a: { readonly permission: string | undefined }, b: { readonly permission: string | undefined }) =>
      (a.permission ?? '') < (b.permission ?? '') ? -1 : 1
    expect([...told].sort(byName)).toEqual([...held].sort(byName))
  })

  test('tells of every page that the navigation leads to', () => {
    const frame = readFileSync(join(import.meta.dirname, '../src/control/console/console-frame.ts'), 'utf8')
    const labels = [...frame.matchAll(/label: '([^']+)', href: '\/console/g)].map(([, label]) => label)
    expect(labels.length).toBeGreaterThan(8)
    expect(new Set([...page.matchAll(/^\*\*([^*]+)\.\*\* /gm)].map(([, name]) => name))).toEqual(new Set(labels))
  })

  test('quotes buttons and bounds as they are', () => {
    const templates = readdirSync(join(import.meta.dirname, '../views/console'))
      .map((name) => readFileSync(join(import.meta.dirname, '../views/console', name), 'utf8'))
      .join('\n')
    for (const words of ['Check that it answers', 'Look again', 'Verify']) {
      expect(page).toContain(words)
      expect(templates).toContain(`>${words}<`)
    }
    expect(page).toContain(`at most ${longestExportDays} days`)
  })
})
