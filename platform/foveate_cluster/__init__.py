"""All that asks Ray for help outside Serve and Tune: clusters, jobs, wheels, remote calls, worker groups."""
