/* yzma-sim nodes: worlds of whole nodes, one seed after the other. */
#ifndef YZMA_SIM_NODES_MAIN_H
#define YZMA_SIM_NODES_MAIN_H

/* Of the command line from "nodes" on; returns the exit code. */
int nodes_main(int argc, char **argv);

#endif
