/** Bundles on the disk: everything that a policy names comes along, what lies elsewhere is said, and nothing is written outside of its folder. */

import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Bundle, hashBundle, mostBundleBytes, toBundle } from '../administration/policy-bundle.ts'
import { collectBundle, explainUnfit, readBundle, readBundleFolder, writeBundle } from './bundle-files.ts'
import { loadPolicyBeside } from './load-policy.ts'
import { findPolicyTests } from './load-policy-tests.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'postern-bundle-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const write = async (name: string, content: string | Buffer) => {
  const file = join(folder, name)
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, content)
  return file
}
const bundleOf = (files: Readonly<Record<string, string>>): Bundle =>
  toBundle(Object.entries(files).map(([path, text]) => ({ path, content: Buffer.from(text) })))
const pathsOf = (bundle: Bundle) => bundle.map(({ path }) => path)

const png = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex')
const policyNaming = (networks: string, more = '') => `levels:
  office: { network: { cidrs_file: "${networks}" } }
apps:
  - id: wiki
    url: https://wiki.corp.example
    upstream: http://wiki.internal:3000
${more}    rules: [{ allow: { groups: [staff] }, when: [office] }]
`

describe('reading a bundle', () => {
  it('takes a file with its tests and all that it names, and nothing that lies beside', async () => {
    await write('networks/office.txt', '192.0.2.0/24\n')
    await write('logos/wiki.png', png)
    await write('policy.test.yaml', 'tests: []\n')
    await write('postern.yaml', 'url: https://access.corp.example\n')
    const path = await write('policy.yaml', policyNaming('networks/office.txt', '    logo: logos/wiki.png\n'))
    const { bundle, problems } = await readBundle(path)
    expect(problems).toEqual([])
    expect(pathsOf(bundle)).toEqual(['logos/wiki.png', 'networks/office.txt', 'policy.test.yaml', 'policy.yaml'])
    expect(bundle[0]?.content).toEqual(png)
  })

  it('takes every document of a folder, and the tests beside it as well as those in it', async () => {
    await write('policies/a.yaml', policyNaming('office.txt'))
    await write('policies/b.yaml', 'rules: []\n')
    await write('policies/b.test.yaml', 'tests: []\n')
    await write('policies/office.txt', '192.0.2.0/24\n')
    await write('policies/notes.md', 'not of the policy')
    await write('policies.test.yaml', 'tests: []\n')
    const { bundle, problems } = await readBundle(join(folder, 'policies'))
    expect(problems).toEqual([])
    expect(pathsOf(bundle)).toEqual(['a.yaml', 'b.test.yaml', 'b.yaml', 'office.txt', 'policies.test.yaml'])
  })

  it('calls the only file of a document so that it is found again', async () => {
    const { bundle } = await readBundle(await write('policy.yml', 'rules: []\n'))
    expect(pathsOf(bundle)).toEqual(['policy.yaml'])
  })

  it('names what lies outside of the folder, by its path or behind a link, or is not there', async () => {
    const elsewhere = await mkdtemp(join(tmpdir(), 'postern-elsewhere-'))
    try {
      await writeFile(join(elsewhere, 'office.txt'), '192.0.2.0/24\n')
      await write('beside.txt', '192.0.2.0/24\n')
      await mkdir(join(folder, 'policies'))
      await symlink(join(elsewhere, 'office.txt'), join(folder, 'policies', 'link.txt'))
      for (const [named, why] of [
        ['../beside.txt', 'outside'],
        [join(elsewhere, 'office.txt'), 'outside'],
        ['link.txt', 'outside'],
        ['missing.txt', 'does not exist'],
      ] as const) {
        const path = await write('policies/policy.yaml', policyNaming(named))
        const { bundle, problems } = await readBundle(path)
        expect(problems.map(({ message }) => message)).toEqual([expect.stringContaining(why)])
        expect(problems[0]?.file).toContain(named.replace('..', ''))
        expect(pathsOf(bundle)).toEqual(['policy.yaml'])
      }
    } finally {
      await rm(elsewhere, { recursive: true, force: true })
    }
  })

  it('follows links that stay within, as orchestrators mount files', async () => {
    await write('..2026/policy.yaml', policyNaming('office.txt'))
    await write('..2026/office.txt', '192.0.2.0/24\n')
    await symlink('..2026', join(folder, '..data'))
    await symlink('..data/policy.yaml', join(folder, 'policy.yaml'))
    await symlink('..data/office.txt', join(folder, 'office.txt'))
    const { bundle, problems } = await readBundle(join(folder, 'policy.yaml'))
    expect(problems).toEqual([])
    expect(pathsOf(bundle)).toEqual(['office.txt', 'policy.yaml'])
  })

  it('is not larger than a bundle may be', async () => {
    const half = '#'.repeat(mostBundleBytes / 2)
    const path = await write('policy.yaml', policyNaming('office.txt'))
    await write('policy.test.yaml', half)
    await write('office.txt', half)
    expect((await readBundle(path)).problems.map(({ message }) => message)).toEqual([expect.stringContaining('at most')])
  })

  it('does not take a list for a part of the document', async () => {
    await write('office.yaml', '192.0.2.0/24\n')
    const path = await write('policy.yaml', policyNaming('office.yaml'))
    const { bundle, problems } = await collectBundle(path, [join(folder, 'office.yaml')])
    expect(problems).toHaveLength(1)
    expect(pathsOf(bundle)).toEqual(['policy.yaml'])
  })

  it('says that nothing is there', async () => {
    expect((await readBundle(join(folder, 'none.yaml'))).problems[0]?.message).toContain('does not exist')
    await mkdir(join(folder, 'empty'))
    expect((await readBundle(join(folder, 'empty'))).problems[0]?.message).toContain('no *.yaml')
  })
})

describe('writing a bundle', () => {
  const good = bundleOf({
    'policy.yaml': policyNaming('networks/a.txt'),
    'networks/a.txt': '192.0.2.0/24\n',
    'policy.test.yaml': 'tests: []\n',
  })

  it('makes a folder for this user alone, which is read and loaded as what it was', async () => {
    const target = join(folder, 'deep', 'policy')
    await writeBundle(target, good)
    expect(hashBundle(await readBundleFolder(target))).toBe(hashBundle(good))
    expect((await stat(target)).mode & 0o777).toBe(0o700)
    expect((await stat(join(target, 'networks', 'a.txt'))).mode & 0o777).toBe(0o600)
    expect(await readdir(join(folder, 'deep'))).toEqual(['policy'])
    const loaded = await loadPolicyBeside(target, { managed: { allow: undefined } }, undefined, 'bundle')
    expect(loaded.problems).toEqual([])
    expect(loaded.warnings.filter(({ message }) => message.includes('not read'))).toEqual([])
    expect(await findPolicyTests(target, 'bundle')).toEqual([join(target, 'policy.test.yaml')])
    expect(hashBundle((await readBundle(target)).bundle)).toBe(hashBundle(good))
  })

  it.each([
    ['a way out', { 'policy.yaml': '', '../out.txt': 'x' }],
    ['an absolute path', { 'policy.yaml': '', '/tmp/out.txt': 'x' }],
    ['a hidden file', { 'policy.yaml': '', '.env': 'x' }],
    ['a backslash', { 'policy.yaml': '', 'a\\b.txt': 'x' }],
    ['names that differ in case alone', { 'policy.yaml': '', 'A.txt': 'x', 'a.txt': 'y' }],
    ['a file that is a folder too', { 'policy.yaml': '', a: 'x', 'a/b.txt': 'y' }],
    ['no document', { 'policy.test.yaml': 'tests: []' }],
    ['too much', { 'policy.yaml': '#'.repeat(mostBundleBytes + 1) }],
  ])('refuses %s and leaves nothing behind', async (_name, files) => {
    const bundle = bundleOf(files)
    expect(explainUnfit(bundle)).toBeDefined()
    await expect(writeBundle(join(folder, 'target'), bundle)).rejects.toThrow()
    expect(await readdir(folder)).toEqual([])
  })

  it('never writes into a folder that is there, or through a link', async () => {
    await mkdir(join(folder, 'there'))
    await expect(writeBundle(join(folder, 'there'), good)).rejects.toThrow('exists')
    await mkdir(join(folder, 'aim'))
    await symlink(join(folder, 'aim'), join(folder, 'link'))
    await expect(writeBundle(join(folder, 'link'), good)).rejects.toThrow('exists')
    expect(await readdir(join(folder, 'aim'))).toEqual([])
    expect((await lstat(join(folder, 'link'))).isSymbolicLink()).toBe(true)
  })

  it('leaves nothing behind where it cannot finish', async () => {
    if (process.getuid?.() === 0) return
    await mkdir(join(folder, 'closed'))
    await chmod(join(folder, 'closed'), 0o500)
    await expect(writeBundle(join(folder, 'closed', 'policy'), good)).rejects.toThrow()
    await chmod(join(folder, 'closed'), 0o700)
    expect(await readdir(join(folder, 'closed'))).toEqual([])
  })

  it('is not read back where somebody put a link or a stranger into it', async () => {
    const target = join(folder, 'policy')
    await writeBundle(target, good)
    await symlink(join(folder, 'x'), join(target, 'link.txt'))
    await expect(readBundleFolder(target)).rejects.toThrow('no bundle')
    await rm(join(target, 'link.txt'))
    await writeFile(join(target, '.hidden'), '')
    await expect(readBundleFolder(target)).rejects.toThrow('no bundle')
  })
})

describe('a managed policy', () => {
  const load = async (files: Readonly<Record<string, string>>) => {
    const target = join(folder, 'policy')
    await rm(target, { recursive: true, force: true })
    await writeBundle(target, bundleOf(files))
    return target
  }
  const managed = { managed: { allow: undefined } }

  it('names files of its own folder only: what lies elsewhere is not even read', async () => {
    const secret = await write('secret.txt', 'hunter2 is no network\n')
    for (const named of [secret, '../secret.txt', './networks/../../secret.txt']) {
      const loaded = await loadPolicyBeside(await load({ 'policy.yaml': policyNaming(named) }), managed, undefined, 'bundle')
      expect(loaded.value).toBeUndefined()
      expect(loaded.problems.map(({ line, message }) => [line, message])).toEqual([[2, expect.stringContaining('outside')]])
      expect(loaded.files).toEqual([])
    }
    // Where the policy is files, whoever writes them may name what they like.
    const asFiles = await loadPolicyBeside(await load({ 'policy.yaml': policyNaming(secret) }), {}, undefined, 'bundle')
    expect(asFiles.problems[0]?.file).toBe(secret)
  })

  it('is read through no link', async () => {
    const target = await load({ 'policy.yaml': policyNaming('office.txt'), 'office.txt': '192.0.2.0/24\n' })
    const secret = await write('secret.txt', '192.0.2.0/24\n')
    await rm(join(target, 'office.txt'))
    await symlink(secret, join(target, 'office.txt'))
    const loaded = await loadPolicyBeside(target, managed, undefined, 'bundle')
    expect(loaded.problems.map(({ message }) => message)).toEqual(
      expect.arrayContaining([expect.stringContaining('a link that leads out'), 'this is a link, not a file']),
    )
    expect(await readFile(secret, 'utf8')).toBe('192.0.2.0/24\n')
  })

  it('has every level that the console asks for', async () => {
    const target = await load({ 'policy.yaml': 'rules: []\n' })
    const loaded = await loadPolicyBeside(target, { ...managed, consoleLevels: ['mfa_1h'] }, undefined, 'bundle')
    expect(loaded.problems.map(({ message }) => message)).toEqual([expect.stringContaining('`mfa_1h`')])
    expect(loaded.value).toBeUndefined()
  })
})
