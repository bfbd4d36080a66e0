/** Which folders commands read that put the trail together anew. */

import { mkdtemp, realpath, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { InstanceConfiguration } from '../config/instance.ts'
import { openTrail } from './trail-reading.ts'

let folder: string
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'postern-reading-')))
})
afterEach(() => rm(folder, { recursive: true }))

const open = (...dir: readonly string[]) =>
  openTrail({} as InstanceConfiguration, { dir, what: 'replay', target: undefined }, () => Promise.reject(new Error('no store is opened')))

describe('folders that are named', () => {
  it('are read once each, by however many names', async () => {
    await symlink(folder, `${folder}-link`)
    try {
      expect(await open(folder, `${folder}/`, join(folder, '.'), `${folder}-link`)).toEqual([folder])
    } finally {
      await rm(`${folder}-link`)
    }
  })

  it('have to be there', async () => {
    await expect(open(folder, join(folder, 'missing'))).rejects.toMatchObject({ code: 'audit_unavailable' })
  })
})
