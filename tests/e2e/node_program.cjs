// An executor of our own on node's xxl-job, run as a process. The handlers are those of java/common/Handlers.java.
// node node_program.cjs ADMIN APPNAME PORT COUNTER TOKEN, with the folder of its modules in MODULES.
'use strict'

const fs = require('node:fs')
const path = require('node:path')

const from = (name) => require(require.resolve(name, { paths: [process.env.MODULES] }))
const express = from('express')
const { createXxlJobExecutor } = from('xxl-job')

const [admin, appname, port, counter, token] = process.argv.slice(2)
const failedOnce = new Set()

const ascii = (text) =>
  text.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)

const count = (event, request) => {
  const line = JSON.stringify({
    event,
    handler: request.executorHandler,
    jobId: request.jobId,
    runId: request.logId,
    param: request.executorParams,
    shardIndex: request.broadcastIndex,
    shardTotal: request.broadcastTotal,
    startMs: Date.now(),
    pid: process.pid,
  })
  fs.appendFileSync(path.resolve(counter), `${ascii(line)}\n`)
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

const handlers = {
  okHandler: async (logger, request) => {
    logger.info(`param: ${request.executorParams}`)
    logger.info('last line')
    return `done ${request.executorParams}`
  },
  failHandler: async (logger, request) => {
    logger.info('about to fail')
    throw new Error(`failed on purpose: ${request.executorParams}`)
  },
  napHandler: async (logger, request) => {
    await sleep(3000)
    count('end', request)
    return 'napped'
  },
  sleepHandler: async (logger, request) => {
    const end = Date.now() + Number(request.executorParams || 60000)
    while (Date.now() < end) {
      if (request.isKill()) {
        count('interrupt', request)
        return 'interrupted'
      }
      await sleep(50)
    }
    count('end', request)
    return 'slept'
  },
  flakyHandler: async (logger, request) => {
    if (!failedOnce.has(request.executorParams)) {
      failedOnce.add(request.executorParams)
      throw new Error(`first time: ${request.executorParams}`)
    }
    return `second time: ${request.executorParams}`
  },
}

const jobHandlers = new Map(
  Object.entries(handlers).map(([name, handler]) => [
    name,
    async (logger, request) => {
      count('start', request)
      return handler(logger, request)
    },
  ]),
)

const app = express()
app.use(express.json())
app.listen(Number(port), '127.0.0.1', () => {
  createXxlJobExecutor({
    app,
    jobHandlers,
    appType: 'express',
    accessToken: token,
    baseUrl: `http://127.0.0.1:${port}`,
    executorKey: appname,
    scheduleCenterUrl: admin,
  }).initialization()
})
