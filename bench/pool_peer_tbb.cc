/* SPDX-License-Identifier: MIT */
/*
 * pool_peer_tbb.cc - oneTBB as a peer of bench_pool: one concurrent_bounded_queue of requests for
 * all workers, and one for the answers of each caller. Built where there is a C++ compiler and TBB.
 */
#include "bench/pool_bench.h"

#include <tbb/concurrent_queue.h>

#include <thread>
#include <vector>

namespace
{

using answers = tbb::concurrent_bounded_queue<int>;

class tbb_pool
{
	/* A null pointer sends one worker home. */
	tbb::concurrent_bounded_queue<answers *> requests;
	std::vector<std::thread> threads;

	void serve(uint64_t steps)
	{
		answers *whom = nullptr;

		for (requests.pop(whom); whom; requests.pop(whom)) {
			bench_work(steps);
			whom->push(0);
		}
	}

      public:
	tbb_pool(unsigned workers, uint64_t steps)
	{
		for (unsigned i = 0; i < workers; i++)
			threads.emplace_back(&tbb_pool::serve, this, steps);
	}

	~tbb_pool()
	{
		for (size_t i = 0; i < threads.size(); i++)
			requests.push(nullptr);
		for (std::thread &thread : threads)
			thread.join();
	}

	void call()
	{
		/* Never freed: a worker may still be leaving push() when its caller ends. */
		static thread_local answers &mine = *new answers;
		int answer = 0;

		requests.push(&mine);
		mine.pop(answer);
	}
};

void call(void *state)
{
	static_cast<tbb_pool *>(state)->call();
}

void destroy(void *state)
{
	delete static_cast<tbb_pool *>(state);
}

} // namespace

struct lane peer_tbb(unsigned workers, uint64_t steps)
{
	struct lane lane = {};

	lane.name = "TBB bounded queues";
	lane.state = new tbb_pool(workers, steps);
	lane.call = call;
	lane.destroy = destroy;
	return lane;
}
