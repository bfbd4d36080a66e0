/** Lists of devices: every problem with its line, everything or nothing. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseDeviceCsv } from './device-csv.ts'
import { type ImportRow, importDevices } from './device-import.ts'
import { createTestInventory, define, type TestInventory } from './devices.fixture.ts'

describe('a list', () => {
  it('is read with its columns in any order, quotes, several values, and either line break', () => {
    const text =
      '\uFEFFserial,ID,tags,owner,attribute.Ring,sans\r\nC02X,laptop-7,"finance; de",bob@corp.example,"a ""pilot"", really",a.corp.example b.corp.example\r\n\r\n,laptop-8,,,,\n'
    expect(parseDeviceCsv(text)).toMatchObject({
      problems: [],
      rows: [
        {
          line: 2,
          input: {
            id: 'laptop-7',
            serial: 'C02X',
            tags: ['finance', 'de'],
            names: ['a.corp.example', 'b.corp.example'],
            attributes: { Ring: 'a "pilot", really' },
          },
        },
        { line: 4, input: { id: 'laptop-8', serial: undefined, tags: [], attributes: {} } },
      ],
    })
  })

  it('counts lines within quoted cells', () => {
    const { rows } = parseDeviceCsv('id,name\na,"two\nlines"\nb,x\n')
    expect(rows.map(({ line }) => line)).toEqual([2, 4])
  })

  it.each([
    ['', 1, 'empty'],
    ['serial,name\n', 1, '`id` is missing'],
    ['id,id\na,b\n', 1, 'twice'],
    ['id,seriall\na,b\n', 1, 'seriall'],
    ['id,name\na\n', 2, '1 cells'],
    ['id,name\na,b\nc,"d\n', 3, 'never closed'],
    ['id,name\na,"b"x\n', 2, 'follows'],
    ['id,name\na,b"x\n', 2, 'quote'],
  ])('%j has a problem in line %d', (text, line, words) => {
    expect(parseDeviceCsv(text).problems).toContainEqual({ line, problem: expect.stringContaining(words) })
  })

  it('of a hundred thousand rows is read in a moment', () => {
    const text = `id,serial\n${Array.from({ length: 100_000 }, (_, i) => `d${i},S${i}`).join('\n')}`
    expect(parseDeviceCsv(text).rows).toHaveLength(100_000)
  })
})

describe('an import', () => {
  let inventory: TestInventory
  beforeEach(() => {
    inventory = createTestInventory()
  })
  afterEach(() => inventory.close())

  const rows = (...ids: readonly (string | Parameters<typeof define>[0])[]): ImportRow[] =>
    ids.map((one, index) => ({ line: index + 2, definition: define(typeof one === 'string' ? { id: one, serial: `s-${one}` } : one) }))
  const all = async () => {
    const ids = new Set<string>()
    for await (const { id } of inventory.devices.list()) ids.add(id)
    return ids
  }

  it('adds every row, and records each', async () => {
    const outcome = await importDevices(inventory.devices, rows(...Array.from({ length: 40 }, (_, i) => `d${i}`)), 'os:admin@test')
    expect(outcome).toEqual({ outcome: 'imported', added: 40, unchanged: 0 })
    expect(inventory.events.filter(({ event }) => event === 'device.imported')).toHaveLength(40)
  })

  it('adds nothing if any row is wrong, and says what of each', async () => {
    await inventory.add({ id: 'there', serial: 'taken', names: ['n.corp.example'] })
    const list = rows(
      'a',
      { id: 'b', serial: 'S-A' },
      { id: 'a' },
      { id: 'c', serial: 'TAKEN' },
      { id: 'there' },
      { id: 'd', names: ['N.corp.example'] },
      { id: 'e', names: ['A', 'e'] },
    )
    expect(await importDevices(inventory.devices, list, 'os:admin@test')).toEqual({
      outcome: 'refused',
      problems: [
        { line: 3, problem: 'the serial number s-a stands in line 2 as well' },
        { line: 4, problem: 'the id a stands in line 2 as well' },
        { line: 5, problem: 'the serial number taken belongs to there' },
        { line: 6, problem: 'a device with this id is in the inventory already' },
        { line: 7, problem: 'the certificate name n.corp.example belongs to there' },
        { line: 8, problem: 'the certificate name a stands in line 2 as well' },
      ],
    })
    expect(await all()).toEqual(new Set(['there']))
  })

  it('leaves alone what is there already, exactly so', async () => {
    await importDevices(inventory.devices, rows('a', 'b'), 'os:admin@test')
    expect(await importDevices(inventory.devices, rows('a', 'b', 'c'), 'os:admin@test')).toEqual({
      outcome: 'imported',
      added: 1,
      unchanged: 2,
    })
  })

  it('takes back what it added if somebody comes between', async () => {
    const { devices } = inventory
    let registered = 0
    const racing = {
      ...devices,
      register: async (...given: Parameters<typeof devices.register>) => {
        registered += 1
        if (registered === 20) await inventory.add({ id: 'rival', serial: 'S-D39' })
        return await devices.register(...given)
      },
    }
    const outcome = await importDevices(racing, rows(...Array.from({ length: 40 }, (_, i) => `d${i}`)), 'os:admin@test')
    expect(outcome).toEqual({ outcome: 'refused', problems: [{ line: 41, problem: 'the serial number s-d39 belongs to rival' }] })
    expect(await all()).toEqual(new Set(['rival']))
  })

  it('takes back what it added if the store fails in the middle', async () => {
    const { devices } = inventory
    let registered = 0
    const failing = {
      ...devices,
      register: async (...given: Parameters<typeof devices.register>) => {
        registered += 1
        if (registered === 30) throw new Error('away')
        return await devices.register(...given)
      },
    }
    await expect(importDevices(failing, rows(...Array.from({ length: 40 }, (_, i) => `d${i}`)), 'os:admin@test')).rejects.toThrow('away')
    expect(await all()).toEqual(new Set())
  })
})
