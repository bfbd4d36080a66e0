import { defineConfig } from 'vitest/config'

const shared = { environment: 'node', pool: 'forks' as const, restoreMocks: true }
const story = { ...shared, testTimeout: 60_000, hookTimeout: 180_000 }

/** One at a time: these measure memory and delays, or listen where somebody else expects it. */
const alone = ['big-bodies', 'compose', 'demo', 'launcher', 'many-connections', 'shutdown', 'store-away'].map(
  (name) => `e2e/${name}.e2e.ts`,
)

// Groups run one after the other, in their order.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...shared,
          name: 'unit',
          include: ['src/**/*.test.ts', 'docs/**/*.test.ts'],
          testTimeout: 20_000,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      // They mostly wait: for a limit, for a cache to age, for a provider that was told to hang.
      { test: { ...story, name: 'attacks', include: ['e2e/attacks/*.e2e.ts'], maxWorkers: 4, sequence: { groupOrder: 2 } } },
      { test: { ...story, name: 'stories', include: ['e2e/*.e2e.ts'], exclude: alone, maxWorkers: 2, sequence: { groupOrder: 3 } } },
      { test: { ...story, name: 'alone', include: alone, fileParallelism: false, sequence: { groupOrder: 4 } } },
    ],
  },
})
