/**
 * `postern schema config|policy|posture-report|audit`: JSON Schema for editors and programs, made from the very schemas that judge the files.
 *
 * `config/schema/*.json` are its output, for the modeline in the example files; a test keeps them equal.
 */

import { Argument, type Command } from 'commander'
import { printAuditLineSchema } from '../config/audit-line-schema.ts'
import { printJsonSchema } from '../config/json-schema.ts'
import { printPostureReportSchema } from '../config/posture-report-schema.ts'

const printers = {
  config: () => printJsonSchema('config'),
  policy: () => printJsonSchema('policy'),
  'posture-report': printPostureReportSchema,
  audit: printAuditLineSchema,
} as const

/** Adds `schema`. */
export function registerSchema(program: Command): void {
  program
    .command('schema')
    .description('print the JSON Schema of a file, or of a line of the audit trail')
    .addArgument(new Argument('<file>', 'which file').choices(Object.keys(printers)))
    .action((file: keyof typeof printers) => {
      process.stdout.write(printers[file]())
    })
}
