/**
 * The documents keep their word: every relative link leads to a file and, where it names one, to a heading; every `postern …` and
 * `npm …` command that a document tells the reader to type exists, with its options; the lockfile ties nobody to one registry.
 */

import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'

const root = resolve(import.meta.dirname, '..')
const documents = ['.', 'docs', 'docs/decisions', 'docs/operations', 'e2e'].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(root, folder, name)),
)
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { readonly scripts: Readonly<Record<string, string>> }

describe.each(documents.map((file) => ({ name: relative(root, file), file })))('$name', ({ file }) => {
  const text = readFileSync(file, 'utf8')

  test('leads only to files and headings that exist', () => {
    const broken = readLinks(text).filter((link) => {
      const [path = '', heading] = link.split('#')
      const target = path === '' ? file : resolve(dirname(file), decodeURIComponent(path))
      if (!existsSync(target)) return true
      return heading !== undefined && !headingsOf(readFileSync(target, 'utf8')).includes(heading)
    })
    expect(broken).toEqual([])
  })

  test('names only commands that exist', () => {
    const commands = readCommands(text)
    expect(commands.filter(({ program, words }) => !(program === 'npm' ? isNpmCommand(words) : isPosternCommand(words)))).toEqual([])
    // Each command's help is a process of its own, once.
  }, 90_000)
})

test('the lockfile names no registry, and Node for every system that has a packaged one', () => {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    readonly packages: Record<string, { resolved?: string }>
  }
  expect(Object.keys(lock.packages).filter((name) => lock.packages[name]?.resolved !== undefined)).toEqual([])
  for (const system of ['linux-x64', 'linux-arm64', 'win-x64']) expect(lock.packages).toHaveProperty([`node_modules/node-${system}`])
  // `npm ci` of npm 11 refuses a lockfile that leaves out a package for another system.
  for (const system of ['darwin-arm64', 'darwin-x64', 'linux-x64-musl', 'win32-x64'])
    expect(lock.packages).toHaveProperty([`node_modules/@biomejs/cli-${system}`])
})

/** Relative targets of links, pictures and sources. */
function readLinks(text: string): readonly string[] {
  const prose = text.replace(/```[\s\S]*?```/g, '').replace(/`[^`\n]*`/g, '')
  const found = [...prose.matchAll(/\]\(([^)\s]+)\)/g), ...prose.matchAll(/(?:src|srcset|href)="([^"]+)"/g)]
  return found.map(([, link = '']) => link).filter((link) => !/^[a-z]+:/.test(link))
}

/** Headings as they are named in links: lower case, no punctuation, hyphens for spaces. */
function headingsOf(text: string): readonly string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

interface NamedCommand {
  readonly program: 'npm' | 'postern'
  readonly words: readonly string[]
}

/** Commands in code spans and in shell blocks, without their arguments' values. */
function readCommands(text: string): readonly NamedCommand[] {
  const blocks = [...text.matchAll(/```(?:sh|bash|console)\n([\s\S]*?)```/g)].map(([, code = '']) => code.replaceAll('\\\n', ' '))
  const spans = [...text.replace(/```[\s\S]*?```/g, '').matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code)
  return [...blocks.flatMap((block) => block.split('\n')), ...spans].flatMap((line) => {
    const match = /^(?:\$ )?(?:npx --no-install )?(npm|postern) ([a-z-].*)$/.exec(line.trim())
    if (match === null) return []
    const words = (match[2] ?? '').replace(/ #.*$/, '').split(/\s+/)
    return [{ program: match[1] as NamedCommand['program'], words }]
  })
}

function isNpmCommand([verb = '', name = '']: readonly string[]): boolean {
  if (verb === 'start' || verb === 'test') return scripts[verb] !== undefined
  return verb === 'run' ? scripts[name] !== undefined : verb === 'ci' || verb.startsWith('-')
}

/** A command and its subcommand by their own help, and every option they are given. */
function isPosternCommand(words: readonly string[]): boolean {
  const [name = '', second = ''] = words
  if (name.startsWith('-')) return helpOf([]).includes(name)
  if (!new RegExp(`^  ${name}\\b`, 'm').test(helpOf([]))) return false
  const hasSubcommands = /^Commands:/m.test(helpOf([name]))
  if (hasSubcommands && second !== '' && !new RegExp(`^  ${second.split('|')[0]}\\b`, 'm').test(helpOf([name]))) return false
  const help = helpOf(hasSubcommands && second !== '' ? [name, second.split('|')[0] ?? ''] : [name])
  return words.filter((word) => word.startsWith('--')).every((option) => help.includes(option.split('=')[0] ?? ''))
}

const helps = new Map<string, string>()

function helpOf(command: readonly string[]): string {
  const key = command.join(' ')
  const known = helps.get(key)
  if (known !== undefined) return known
  const help = execFileSync(process.execPath, [join(root, 'src', 'cli.ts'), ...command, '--help'], { encoding: 'utf8' })
  helps.set(key, help)
  return help
}
